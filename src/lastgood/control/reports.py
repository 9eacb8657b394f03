"""The gateways' reports, from the run folder."""

from pathlib import Path

from lastgood.wire.reports import Look, WorkerReport, look_at_reports, read_reports, report_path


class FolderReports:
    """Implements :class:`lastgood.ports.Reports` on the files that the workers replace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> list[WorkerReport]:
        """Return each worker life's latest report."""
        return read_reports(self._folder)

    def look(self) -> Look:
        """Return each worker life's latest report, and those that cannot be read."""
        return look_at_reports(self._folder)

    def forget(self, slot: int, epoch: int) -> None:
        """Remove a report whose worker is gone and whose counts have been used."""
        report_path(self._folder, slot, epoch).unlink(missing_ok=True)
