"""Ground truth as Model Monitor takes it: JSON lines, each with a label and the id of the inference it belongs to.

    {"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "aaaa-bbbb"}, "eventVersion": "0"}

`eventId` is the inference id where the request had one, else the event's own. `data` is CSV or JSON text; where the request
held several records it holds as many, in their order. A line that cannot be read is counted and told.

What it does not do: it joins nothing (`ground_truth`).

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from millrace.monitoring.monitored_records import key_of
from millrace.monitoring.record_cells import find
from millrace.profiling.json_dataset import JsonDataset
from millrace.profiling.payload import Cell, Form, PayloadError, rows_of
from millrace.profiling.unreadable import Unreadable

FORMS: Mapping[Cell, Form] = {"CSV": "csv", "JSON": "json"}
FIRST = "0"


class GroundTruthFile:
    """The labels of every file under a folder; each reading counts anew.

    Args:
        label: which cell of the data is the label.

    Raises:
        DatasetError: the folder holds no file.
    """

    def __init__(self, folder: Path, label: str | None = None) -> None:
        self._dataset = JsonDataset(folder, by_line=True)
        self._label = label or FIRST

    @property
    def unreadable(self) -> Unreadable:
        return self._dataset.unreadable

    def __iter__(self) -> Iterator[tuple[str, Cell]]:
        """Keys, as those of `MonitoredRecords`, and labels; None where the data hold no such cell."""
        for line in self._dataset.rows():
            event_id = line.get("eventMetadata.eventId")
            try:
                labels = self._labels(line)
            except PayloadError as error:
                self.unreadable.note(f"the ground truth of {event_id!r}", str(error))
                continue
            for index, label in enumerate(labels):
                yield key_of(str(event_id), index, len(labels)), label

    def _labels(self, line: Mapping[str, Cell]) -> list[Cell]:
        data, encoding = line.get("groundTruthData.data"), line.get("groundTruthData.encoding", "CSV")
        if line.get("eventMetadata.eventId") is None:
            raise PayloadError("it has no eventMetadata.eventId")
        if data is None:
            raise PayloadError("it has no groundTruthData.data, or an empty one")
        if encoding not in FORMS:
            raise PayloadError(f"its encoding is {encoding!r}; known are {' and '.join(map(str, FORMS))}")
        return [find(cells, self._label) for cells in rows_of(str(data), FORMS[encoding])]
