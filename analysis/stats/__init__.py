"""From scores to what may be concluded. Numbers in, numbers out: it knows no table and no store."""

from analysis.stats.additive import Additive, Scores, additive
from analysis.stats.comparison import POWER, SCREENING, UNEQUAL, Comparison, compare
from analysis.stats.dunnett import dunnett_cdf, dunnett_critical
from analysis.stats.exact import mcnemar, sign_flip
from analysis.stats.pairs import all_pairs, apart
from analysis.stats.retention import Retention, retention
from analysis.stats.sequential import levels
from analysis.stats.summary import LEVEL, Summary, seeds_by_images, summarise
from analysis.stats.verdicts import Difference, holm

__all__ = [
    "LEVEL",
    "POWER",
    "SCREENING",
    "UNEQUAL",
    "Additive",
    "Comparison",
    "Difference",
    "Retention",
    "Scores",
    "Summary",
    "additive",
    "all_pairs",
    "apart",
    "compare",
    "dunnett_cdf",
    "dunnett_critical",
    "holm",
    "levels",
    "mcnemar",
    "retention",
    "seeds_by_images",
    "sign_flip",
    "summarise",
]
