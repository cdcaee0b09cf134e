"""Whether a candidate may replace the champion: pure arithmetic over two sets of metrics."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.verdict import Finding, Verdict

ROUNDING = 1e-9


def judge(
    candidate: Mapping[str, float],
    champion: Mapping[str, float] | None,
    *,
    least: Mapping[str, float],
    tolerance: float,
    compared: str,
) -> Verdict:
    """Hold a candidate's metrics against absolute floors, and one of them against the champion's.

    Args:
        candidate: its metrics; larger is better.
        champion: the champion's metrics, or None when there is none yet.
        least: for each metric the least value that passes.
        tolerance: how much worse than the champion's `compared` metric the candidate's may be.
        compared: the metric that is compared with the champion's.

    Raises:
        ValueError: the tolerance is negative.
    """
    if tolerance < 0:
        raise ValueError(f"tolerance is {tolerance}; it must be 0 or more")
    findings = []
    for name, floor in least.items():
        value = candidate.get(name)
        if value is None:
            findings.append(Finding(subject=name, message=f"the evaluation reported no {name}; {floor} is needed"))
        elif value < floor:
            findings.append(Finding(subject=name, message=f"{name} is {value:.4f}; at least {floor} is needed"))
    note = "there is no champion yet"
    if champion is not None and compared in champion:
        mine, theirs = candidate.get(compared), champion[compared]
        note = f"the champion's {compared} is {theirs:.4f}"
        # 0.8 - 0.1 is a little more than 0.7 in binary; the tolerance as people write it counts.
        if mine is None or mine < theirs - tolerance - ROUNDING:
            findings.append(
                Finding(
                    subject=compared,
                    message=f"{compared} is {mine}; {note}, and at most {tolerance} less is tolerated",
                )
            )
    said = f"{compared} is {candidate.get(compared, float('nan')):.4f}, {note}"
    summary = f"passed: {said}" if not findings else "failed: " + "; ".join(finding.message for finding in findings)
    metrics = {name: value for name, value in candidate.items() if isinstance(value, (int, float))}
    return Verdict(gate="metrics", passed=not findings, summary=summary, metrics=metrics, findings=findings)
