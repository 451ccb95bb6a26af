"""The switch in memory: a node, its public and a link that can fail, behind the switch port.

It passes the same contract tests as the real one, keeps time with the running event loop only (so
virtual time works) and is light enough for a thousand calls a second beside an engine.
"""

from telephony.twin.node import TwinNode
from telephony.twin.public import ANSWERS, Behaviour, Public, by_number, numbering_plan
from telephony.twin.records import TwinRecords
from telephony.twin.switch import TwinSwitch

__all__ = [
    "ANSWERS",
    "Behaviour",
    "Public",
    "TwinNode",
    "TwinRecords",
    "TwinSwitch",
    "by_number",
    "numbering_plan",
]
