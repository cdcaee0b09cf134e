"""Train the lending scorecard, on the windows that have drifted, and promote it when it beats the champion.

1. prepare: the labelled loans of the drifted windows; by hand without windows, the bank's past
2. train: a scorecard
3. challenge: champion and challenger on the same fresh loans
4. register: a version of the model, alias `candidate`
5. baseline: what monitoring compares later nights with
6. promote: alias `champion`; a challenger that is not better is refused, and the history says why

Runs when drift has lasted, and by hand. Nobody is asked: the challenge decides.
"""

from datetime import timedelta

from airflow.sdk import Asset, Param, chain, dag

from operators.challenge import ChallengeOperator
from operators.drift import DriftBaselineOperator
from operators.limit import LIMIT, MAX_COST
from operators.processing import ProcessingOperator
from operators.registry import PromoteModelOperator, RegisterModelOperator
from operators.training import TrainingOperator
from pipelines.lending.settings import FIRST_DAY, ID, LABEL, settings

EVENT = "(triggering_asset_events.values() | first | default([none]) | last)"
DAY = "{{ " + EVENT + ".extra.windows[-1] if triggering_asset_events else params.day }}"
WINDOWS = {
    f"window_{number}": "{{ " + EVENT + f".extra.data[{number}] | default('') if triggering_asset_events else '' }}}}"
    for number in range(settings.judged_windows)
}


@dag(
    schedule=[Asset("lending_drift")],
    catchup=False,
    # A retry adopts the job that still runs.
    default_args={"retries": 1, "retry_delay": timedelta(seconds=20), "max_cost": LIMIT},
    max_active_runs=1,
    tags=["lending"],
    doc_md=__doc__,
    params={
        "day": Param(
            str(FIRST_DAY), format="date", type="string", title="Day", description="When the labels have to be known"
        ),
        "max_cost": MAX_COST,
    },
)
def lending_training():
    processing = {"packages": settings.packages, "instance_type": settings.processing_instance}
    prepare = ProcessingOperator(
        task_id="prepare",
        module="pipelines.lending.jobs.prepare",
        arguments=["--day", DAY],
        inputs=WINDOWS,
        outputs=("train", "test"),
        **processing,
    )
    train = TrainingOperator(
        task_id="train",
        program="pipelines/lending/jobs/train.py",
        packages=settings.packages,
        channels={"train": prepare.output["train"]},
        instance_type=settings.training_instance,
    )
    challenge = ChallengeOperator(
        task_id="challenge",
        module="pipelines.lending.jobs.challenge",
        arguments=["--margin", str(settings.margin)],
        model=settings.model,
        artifact=train.output["model"],
        data=prepare.output["test"],
        window=DAY,
        **processing,
    )
    register = RegisterModelOperator(
        task_id="register",
        model=settings.model,
        artifact=train.output["model"],
        metrics=challenge.output,
    )
    baseline = DriftBaselineOperator(
        task_id="baseline",
        data=prepare.output["train"],
        exclude=(ID, LABEL),
        model=settings.model,
        version=register.output["version"],
        instance_type=settings.processing_instance,
    )
    promote = PromoteModelOperator(
        task_id="promote",
        model=settings.model,
        version=register.output["version"],
        challenge=challenge.output,
    )
    chain(prepare, train, challenge, register, baseline, promote)


lending_training()
