"""Connections to an S3 service: addresses, clients, and its errors as errors of files.

Credentials and region are found as the AWS tools find them, by boto3: environment, profiles, single
sign-on, roles of a container or a machine.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

from runners.errors import SweepError
from runners.store.listing import Listed

OPTIONS = ("endpoint_override", "scheme", "region", "tls_ca_file_path", "force_virtual_addressing")
CONNECT_S, READ_S = 10.0, 60.0  # of one request
QUICK_S = 4.0  # of one that renews a lock


class Refused(OSError):
    """The service refuses these credentials, which may pass: roles and tokens are renewed."""


class NoBucket(OSError):
    """There is no such bucket."""


class Unknown(OSError):
    """The service does not know what it was asked for."""


class Unmet(OSError):
    """A conditional write whose condition does not hold: another process was first."""


@dataclass(frozen=True)
class Address:
    """s3://[key:secret@]bucket/folder[?option=value&...]; `root` is bucket/folder."""

    uri: str = field(repr=False)  # it may hold the keys
    bucket: str
    folder: str
    keys: tuple[str, str] | None = field(repr=False)
    options: dict[str, str]

    @classmethod
    def parse(cls, uri: str) -> Address:
        """An address, with pyarrow's names for its options.

        Raises:
            SweepError: it is not one.
        """
        # a secret key may hold "/", and is then often not percent-encoded
        keys = r"(?:([^/?@:]+:[^?@]*|[^/?@]*)@)?"
        form = re.fullmatch(rf"s3://{keys}([^/?@]+)((?:/[^/?]+)*)/?(?:\?(.*))?", uri)
        if not form:
            raise SweepError(f"--storage {uri}: a folder, or s3://bucket/folder")
        user, bucket, folder, query = form.groups()
        options = dict(parse_qsl(query or "", keep_blank_values=True))
        if unknown := sorted({*options} - {*OPTIONS}):
            raise SweepError(
                f"--storage {uri}: unknown option '{unknown[0]}'; there are {', '.join(OPTIONS)}"
            )
        if options.get("scheme", "https") not in ("http", "https"):
            raise SweepError(f"--storage {uri}: scheme={options['scheme']}; use http or https")
        key, _, secret = (unquote(part) for part in (user or "").partition(":"))
        return cls(uri, bucket, folder.strip("/"), (key, secret) if user else None, options)

    @property
    def root(self) -> str:
        return "/".join(filter(None, (self.bucket, self.folder)))

    def client(self, *, quick: bool = False) -> Any:
        """A client of the service; a `quick` one gives up soon.

        Raises:
            SweepError: the address or the machine's AWS configuration cannot be used.
        """
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        own = "endpoint_override" in self.options
        virtual = self.options.get("force_virtual_addressing", "") in ("1", "true")
        # other services know buckets by their path; newer checksums not all of them know
        settings: dict[str, Any] = {"s3": {"addressing_style": "virtual"}} if virtual else {}
        if own:
            settings |= {
                "s3": {"addressing_style": "virtual" if virtual else "path"},
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        config = Config(
            connect_timeout=QUICK_S if quick else CONNECT_S,
            read_timeout=QUICK_S if quick else READ_S,
            retries={"total_max_attempts": 1 if quick else 2, "mode": "standard"},
            **settings,
        )
        places: dict[str, Any] = {"region_name": self.options.get("region")}
        if own:
            scheme = self.options.get("scheme", "https")
            places["endpoint_url"] = f"{scheme}://{self.options['endpoint_override']}"
        if "tls_ca_file_path" in self.options:
            places["verify"] = self.options["tls_ca_file_path"]
        if self.keys:
            places |= dict(
                zip(("aws_access_key_id", "aws_secret_access_key"), self.keys, strict=True)
            )
        try:
            return self._session.client("s3", config=config, **places)
        except (BotoCoreError, ValueError) as error:
            raise SweepError(f"--storage {self.uri}: {' '.join(str(error).split())}") from None

    @cached_property
    def _session(self) -> Any:
        from boto3.session import Session

        return Session()


class Objects:
    """The objects below an address, each operation tried once.

    Raises (each operation):
        FileNotFoundError: there is no such object.
        NoBucket, Refused, Unknown, Unmet: as they say.
        OSError: the service is unreachable, or in trouble.
    """

    def __init__(self, where: Address, *, quick: bool = False):
        self.where, self.client = where, where.client(quick=quick)

    def look(self) -> None:
        """Ask for the names of objects, to see whether that is possible."""
        self._call("list_objects_v2", Prefix=self._folder, MaxKeys=1)

    def get(self, key: str) -> tuple[bytes, str]:
        """The content and its version."""
        with file_errors(key):
            found = self.client.get_object(Bucket=self.where.bucket, Key=self._folder + key)
            return found["Body"].read(), found["ETag"]

    def put(self, key: str, data: bytes, **condition: str) -> str:
        """Write an object; its version."""
        return self._call("put_object", key, Body=data, **condition)["ETag"]

    def exists(self, key: str) -> bool:
        try:
            self._call("head_object", key)
        except FileNotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        self._call("delete_object", key)

    def copy(self, key: str, name: str) -> None:
        """The same content under a second name as well."""
        source = {"Bucket": self.where.bucket, "Key": self._folder + key}
        self._call("copy_object", name, CopySource=source)

    def listing(self, folder: str = "", most: int | None = None) -> dict[str, Listed] | None:
        """Key -> bytes and version, of all objects below the folder; None where they take more than
        `most` pages, of 1,000 each.
        """
        prefix = self._folder + (f"{folder.rstrip('/')}/" if folder else "")
        with file_errors(self.where.root):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.where.bucket, Prefix=prefix
            )
            files: list[dict[str, Any]] = []
            for n, page in enumerate(pages):
                if n == most:
                    return None
                files += page.get("Contents", ())
        return {
            file["Key"].removeprefix(self._folder): Listed(file["Size"], file["ETag"])
            for file in files
        }

    def heeds_conditions(self, key: str) -> bool:
        """Whether a conditional write is refused where its condition does not hold."""
        self.put(key, b"")
        try:
            for condition in ({"IfNoneMatch": "*"}, {"IfMatch": f'"{"0" * 32}"'}):
                with contextlib.suppress(Unmet):
                    self.put(key, b"", **condition)
                    return False
        except Unknown:
            return False
        finally:
            self.delete(key)
        return True

    @property
    def _folder(self) -> str:
        return f"{self.where.folder}/" if self.where.folder else ""

    def _call(self, operation: str, key: str = "", **arguments: Any) -> Any:
        if key:
            arguments["Key"] = self._folder + key
        with file_errors(key):
            return getattr(self.client, operation)(Bucket=self.where.bucket, **arguments)


class ObjectCell:
    """An object with compare-and-swap; its ETag is its version."""

    def __init__(self, objects: Objects, key: str, name: str):
        self.objects, self.key, self.name = objects, key, name

    def load(self) -> tuple[bytes, str] | None:
        """The value and its version; None where there is none."""
        try:
            return self.objects.get(self.key)
        except FileNotFoundError:
            return None

    def swap(self, version: str | None, value: bytes) -> str | None:
        """Replace the value of this version; its new version, or None: another was first."""
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            return self.objects.put(self.key, value, **condition)
        except (Unmet, FileNotFoundError):
            return None


@contextlib.contextmanager
def file_errors(key: str) -> Iterator[None]:
    """Raise what a client raises as an error of the file at `key`.

    Raises:
        FileNotFoundError: there is none.
        NoBucket, Refused, Unknown, Unmet: as they say.
        OSError: the service is unreachable, or in trouble.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        text = error.response.get("Error", {}).get("Message", "")
        reason = (
            f"{text or 'no reason given'} ({status}{'' if code == str(status) else f' {code}'})"
        )
        if status == 501 or code == "NotImplemented":
            raise Unknown(reason) from None
        if code == "NoSuchBucket":
            raise NoBucket(reason) from None
        if code in ("NoSuchKey", "404", "NotFound"):
            raise FileNotFoundError(key) from None
        # 409: another conditional write is just under way
        if status in (409, 412):
            raise Unmet(reason) from None
        if status in (401, 403) or code in ("ExpiredToken", "InvalidToken"):
            raise Refused(reason) from None
        raise OSError(reason) from None
    except NoCredentialsError as error:
        raise Refused(str(error)) from None
    except BotoCoreError as error:
        raise OSError(" ".join(str(error).split())) from None
