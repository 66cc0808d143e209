"""How much each parameter of a space matters, by fANOVA over a study's trials."""

from __future__ import annotations

import optuna
from optuna.trial import create_trial

from runners.search.sampler import distributions
from runners.search.study import Study


def importances(study: Study) -> dict[str, float]:
    """parameter -> its share of the variance of validation accuracy over the space (fANOVA); empty
    where too few or too alike.
    """
    book = optuna.create_study(direction="maximize")
    finished = [p for p in study.proposals if p.trained and p.score is not None]
    for p in finished:
        book.add_trial(
            create_trial(
                params=p.params, distributions=distributions(study.search, p), value=p.score
            )
        )
    if len(finished) < 4 or len({p.score for p in finished}) < 2:
        return {}
    return optuna.importance.get_param_importances(
        book, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
