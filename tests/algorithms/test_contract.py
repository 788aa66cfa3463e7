"""Every algorithm that the registry finds passes the contract."""

from minikms.registry import AlgorithmRegistry
from minikms.testing import AlgorithmContract

ALGORITHMS = [entry.algorithm for entry in AlgorithmRegistry.from_installed()]

# One class each, so that a report and `-k` go by algorithm.
globals().update(
    {
        f"Test_{algorithm.name}": type(
            f"Test_{algorithm.name}", (AlgorithmContract,), {"algorithm": algorithm}
        )
        for algorithm in ALGORITHMS
    }
)
