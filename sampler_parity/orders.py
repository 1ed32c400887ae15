"""What the gate and its worker processes say to each other, one JSON object a line."""

import msgspec

from sampler_parity.run_file import Shard


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to compare."""

    implementation: str
    capability: str
    profile: str
    seed: int
    families: tuple[str, ...]
    folder: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says: how far it is, and at the end its shards or why it cannot judge."""

    done: int = 0
    shards: tuple[Shard, ...] = ()
    cannot_judge: str = ""
