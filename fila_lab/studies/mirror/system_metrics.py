"""The load of the driver's machine, under the names that MLflow shows as system metrics."""

from __future__ import annotations

from pathlib import Path

MEGABYTE = 1e6


class SystemMeter:
    """Samples processor, memory, disk and network; a value over time counts from the sample before."""

    def __init__(self, root: Path) -> None:
        import psutil

        self.root = root
        self._psutil = psutil
        self._network = psutil.net_io_counters()
        psutil.cpu_percent()

    def sample(self) -> dict[str, float]:
        """Name -> value."""
        psutil = self._psutil
        memory, disk, network = psutil.virtual_memory(), psutil.disk_usage(str(self.root)), psutil.net_io_counters()
        found = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": (memory.total - memory.available) / MEGABYTE,
            "system_memory_usage_percentage": memory.percent,
            "disk_usage_percentage": disk.percent,
            "disk_usage_megabytes": disk.used / MEGABYTE,
            "disk_available_megabytes": disk.free / MEGABYTE,
        }
        if network is not None and self._network is not None:
            found["network_receive_megabytes"] = (network.bytes_recv - self._network.bytes_recv) / MEGABYTE
            found["network_transmit_megabytes"] = (network.bytes_sent - self._network.bytes_sent) / MEGABYTE
        return {f"system/{name}": float(value) for name, value in found.items()}
