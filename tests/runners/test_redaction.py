"""No password and no key survives in a text, whatever wraps it; what is no secret stays legible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.errors import StoreError, SweepError
from runners.redaction import mask, secrets, without_user

SECRET = "hunter2planted"
URIS = (
    f"postgresql://me:{SECRET}@db.lab:5432/mlflow",
    f"postgresql+psycopg2://me:{SECRET}@db.lab/mlflow?sslmode=require",
    f"postgresql://db.lab/mlflow?user=me&password={SECRET}&sslmode=require",
    f"http://me:{SECRET}@127.0.0.1:5000",
    f"http://me:it's{SECRET}@127.0.0.1:5000",
    f"https://{SECRET}@mlflow.lab/",
    f"s3://AKIA{SECRET}:{SECRET}/x+y@lab/runs",
    f"s3://{SECRET}:wJalr@lab/runs?endpoint_override=minio%3A9000&scheme=http",
    f"s3://lab/runs?access_key=AKIA{SECRET}&secret_key={SECRET}&session_token={SECRET}",
    f"https://x.blob.core/runs?sv=2024&sig={SECRET}%2Bx",
    f"https://lab.s3.amazonaws.com/runs?X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}",
)
MESSAGES = (
    "{}",
    "--tracking-uri {}: MLflow cannot open it: connection refused",
    "Cannot parse URI: '{}'",
    'could not open "{}" (line 1)',
    "mlflow ui --backend-store-uri '{}', then http://127.0.0.1:5000/#/experiments/1",
    "tried {} and s3://lab/other and me@lab.org",
    "<p>{}</p>",
)


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("uri", URIS)
def test_a_planted_secret_is_masked_in_every_message(uri, message):
    text = message.format(uri)
    assert SECRET not in mask(text) and mask(mask(text)) == mask(text)
    assert SECRET not in str(SweepError(text)) and SECRET not in str(StoreError(text))


WORDS = st.text("abcXYZ019!$*()~._-%/?:@ ", min_size=8, max_size=30).filter(
    # with a space in it, digits could be a port before prose, and "@" could end the password
    lambda s: s == s.strip() and not (" " in s and (s[0].isdigit() or "@" in s))
)


@given(WORDS, st.sampled_from(("postgresql", "http", "s3", "mysql+pymysql")))
def test_any_password_is_masked_in_its_uri(password, scheme):
    text = f"--tracking-uri {scheme}://someone:{password}@host.lab/place: refused"
    assert mask(text) == f"--tracking-uri {scheme}://***@host.lab/place: refused"


def test_a_librarys_own_words_are_masked_where_the_uri_is_known():
    uri = "postgresql://me:top%20secret@db/mlflow"
    assert mask("cannot log in as me with 'top secret' or top%20secret", uri) == (
        "cannot log in as me with '***' or ***"
    )
    assert mask("invalid dsn: host=db password=hunter2 port=1") == (
        "invalid dsn: host=db password=*** port=1"
    )
    assert secrets("sqlite:////home/me@lab/mlflow.db") == secrets("/home/a:b@c/runs") == set()


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART",
        "mlflow ui --backend-store-uri sqlite:////home/me@lab/a:b@c/mlflow.db",
        "s3://lab/runs?endpoint_override=minio%3A9000&scheme=http",
        "postgresql://db.lab:5432/mlflow is away; ask admin@lab.org",
        "http://127.0.0.1:5000: refused; http://[::1]:5000 too",
        "sweeps/tiny.yaml: base: unknown key 'monkey': did you mean 'key'?",
    ],
)
def test_what_is_no_secret_stays(text):
    assert mask(text) == text


def test_a_link_for_a_browser_has_no_user():
    assert without_user("http://me:hunter2@lab:5000/x") == "http://lab:5000/x"
