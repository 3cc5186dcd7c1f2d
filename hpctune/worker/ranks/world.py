"""Where all ranks of a trial are: what a rank says of itself, and what it is told of all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Hello:
    """What a rank says of itself. ``address``: where the head sees it. ``reached``: where it has found the head.
    ``node``: the name of the node, as Slurm says it. ``port``: one that is free there."""

    rank: int
    host: str
    node: str
    pid: int
    port: int
    reached: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """The place of one rank among all ranks. ``addresses``: host:port of each, by rank. ``gpus``: those of one rank."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    node_rank: int = 0
    nodes: int = 1
    addresses: tuple[str, ...] = ()
    gpus: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON-compatible form; :meth:`from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> World:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**data, "addresses": tuple(data["addresses"])})

    def variables(self) -> dict[str, str]:
        """The environment that ``torchrun`` would make, and TensorFlow's."""
        host, _, port = self.addresses[0].rpartition(":")
        task = {"cluster": {"worker": list(self.addresses)}, "task": {"type": "worker", "index": self.rank}}
        return {
            "MASTER_ADDR": host,
            "MASTER_PORT": port,
            "RANK": str(self.rank),
            "LOCAL_RANK": str(self.local_rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_WORLD_SIZE": str(self.local_size),
            "NODE_RANK": str(self.node_rank),
            "GROUP_RANK": str(self.node_rank),
            "TF_CONFIG": json.dumps(task),
        }


def worlds(hellos: Sequence[Hello], gpus: Sequence[float]) -> list[World]:
    """The world of each rank, made of what all have said, and of the GPUs of each rank.

    Nodes are counted in the order of their ranks, because two parts of a heterogeneous job each count their own.

    A rank on the head's node may be seen at an address of the loopback interface, which means nothing to other nodes:
    then the address counts at which those have found the head.
    """
    ordered = sorted(hellos, key=lambda hello: hello.rank)
    elsewhere = [hello for hello in ordered if not _loops(hello.address)]
    here = next((hello.reached for hello in elsewhere), LOOPBACK)
    addresses = tuple(f"{here if _loops(h.address) else h.address}:{h.port}" for h in ordered)
    on_nodes: dict[str, list[int]] = {}
    for hello in ordered:
        on_nodes.setdefault(hello.node, []).append(hello.rank)
    common = World(size=len(ordered), nodes=len(on_nodes), addresses=addresses)
    made = [
        replace(common, rank=rank, local_rank=local, local_size=len(ranks), node_rank=node, gpus=gpus[rank])
        for node, ranks in enumerate(on_nodes.values())
        for local, rank in enumerate(ranks)
    ]
    return sorted(made, key=lambda world: world.rank)


def _loops(address: str) -> bool:
    return address.startswith("127.")
