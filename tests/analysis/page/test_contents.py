"""The page's own list of its parts, and its tables for those who hear them."""

import re

from analysis import report
from runners.plan import load
from runners.store import Store
from runners.trial.run import run


def page(path, tmp_path) -> str:
    sweep, store = load(path), Store(tmp_path / "runs")
    for trial in sweep.trials:
        list(run(trial, store, device="cpu"))
    table = report.read(sweep, store)
    return report.write(table, tmp_path / "out")[0].read_text()


def test_every_part_is_listed_and_every_link_leads_to_one(write_sweep, tmp_path):
    base = {"epochs": 1, "backbone": "resnet20"}
    text = page(write_sweep(base=base, seeds=1, reference="table1"), tmp_path)
    links, places = (
        re.findall(r'href="#(tiny-[^"]+)"', text),
        re.findall(r' id="(tiny-[^"]+)"', text),
    )
    assert links == places and len(set(links)) == len(links)
    assert "tiny-cost" in links and links[-1] == "tiny-the-sweep-file"
    # each row says whose it is
    assert '<th scope="row">S+C</th>' in text and '<th scope="col"' in text
    # each of the paper's figures stands right of ours
    headers = re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', text)
    assert headers[headers.index("paper FLOPs M, ours") + 1] == "printed FLOPs M"
