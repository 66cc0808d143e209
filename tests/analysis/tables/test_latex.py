"""The LaTeX table: names stay names, figures are aligned, and LaTeX takes it."""

import re
import shutil
import subprocess

import pytest

from analysis import report, tables
from analysis.tables import Grid
from analysis.tables.latex import latex, tex
from analysis.verify import differences
from runners.errors import SweepError
from runners.plan import load
from runners.store import Store
from tests.analysis.tables.test_table import fill

GRID = Grid(
    ["variant", "n", "top-1 % ± sd", "Δ R_20", "95 %", "p", "verdict"],
    [
        ["R_20", "3", "98.05 ± 0.00", "-", "-", "-", "-"],
        ["C&S", "2 of 3", "7.5", "-1.21", "-3.29 to +10.87", "< 0.001", "worse"],
    ],
    bold="C&S",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C&S_1 100 % #2 $x", r"C\&S\_1 100 \% \#2 \$x"),
        ("a\\b{c}", r"a\textbackslash{}b\{c\}"),
        ("-1.21 to R-20, S (-3.29)", r"$-$1.21 to R-20, S ($-$3.29)"),
        ("98 ± 1, Δ < α ~ ^", r"98 $\pm$ 1, $\Delta$ $<$ $\alpha$ \textasciitilde{} \^{}"),
        ("“a, b”", "``a, b''"),
        ("a--b", "a-{}-b"),
    ],
)
def test_a_text_is_printed_as_it_stands(text, expected):
    assert tex(text) == expected


def test_figures_stand_in_columns_of_siunitx_and_the_rest_as_text():
    lines = latex(GRID, ["100 % sure"], "Which, at 95 %?", "mine").splitlines()
    assert lines[0] == "% 100 % sure"
    assert r"  \caption{Which, at 95 \%?}" in lines and r"  \label{tab:mine}" in lines
    spec = next(line for line in lines if "begin{tabular}" in line).partition("{tabular}")[2]
    pair = r"{}@{{\,}}c@{{\,}}{}"
    assert re.sub(r"S\[table-format=([^,]*),[^]]*\]", r"<\1>", spec) == (
        f"{{l{pair.format('<1>', '<1>')}{pair.format('<2.2>', '<1.2>')}<+1.2>"
        f"{pair.format('<+1.2>', '<+2.2>')}ll}}"
    )
    first, second = (line.strip() for line in lines if line.strip().startswith("{}"))
    assert first == (
        r"{}R\_20 & 3 & & & 98.05 & $\pm$ & 0.00 & {--} & \multicolumn{3}{c}{--} & -- & -- \\"
    )
    assert second == (
        r"{}\bfseries C\&S & \bfseries 2 & \bfseries of & \bfseries 3 & \bfseries 7.5 & & & "
        r"\bfseries -1.21 & \bfseries -3.29 & \bfseries to & \bfseries +10.87 & "
        r"\bfseries $<$ 0.001 & \bfseries worse \\"
    )
    # every line has as many cells as there are columns
    rows = [line.replace(r"\&", "") for line in lines if line.endswith(r" \\")]
    assert [row.count("&") + 2 * row.count("multicolumn") for row in rows] == [12, 12, 12]


def test_names_that_are_numbers_are_no_figures():
    text = latex(Grid(["variant", "n"], [["007", "3"], ["1.50", "12"]]), [], "", "")
    assert "{}007 & 3" in text and "{lS[table-format=2," in text
    # siunitx needs to see a figure at least
    assert "{ll}" in latex(Grid(["variant", "n"], []), [], "", "")


@pytest.fixture
def table(write_sweep, tmp_path):
    scores = {"R_20": [70.0, 71.25, 70.5], "S & C, 50 %": [66.0, 66.25, 66.5], "#3": [90.0, 91, 92]}
    arms = {name: {"lr": 0.01 * (i + 1)} for i, name in enumerate(scores)}
    sweep = load(write_sweep(variants=arms, baseline="R_20", seeds=3))
    return tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))


def test_its_columns_can_be_chosen(table, tmp_path):
    report.write(table, tmp_path / "out", columns=["macs", "difference"])
    text = (tmp_path / "out/table.tex").read_text()
    assert r"{variant} & {MACs M} & {$\Delta$ R\_20} \\" in text
    # the table says itself which columns it has
    assert differences(table, tmp_path / "out") == []
    report.write(table, tmp_path / "out")
    assert "columns: " not in (tmp_path / "out/table.tex").read_text()
    assert differences(table, tmp_path / "out") == []
    with pytest.raises(
        SweepError, match=r"--columns: no column is called 'mac': did you mean 'macs'"
    ):
        report.write(table, tmp_path / "other", columns=["mac"])
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs LaTeX with siunitx")
@pytest.mark.parametrize("kind", ["comparison", "statistics", "cost", "made up"])
def test_latex_takes_it(kind, table, tmp_path):
    grid = GRID if kind == "made up" else getattr(tables, kind)(table)
    text = latex(grid, tables.footer(table), table.sweep.question, table.sweep.label)
    head = r"\documentclass{article}\usepackage{booktabs,siunitx}\usepackage[landscape]{geometry}"
    (tmp_path / "t.tex").write_text(f"{head}\\begin{{document}}\n{text}\\end{{document}}\n")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and (tmp_path / "t.pdf").exists(), done.stdout[-900:]
