"""AMI events of one call, as Asterisk 22 writes them (shortened to what is read)."""

from __future__ import annotations

from collections.abc import Mapping

Fields = Mapping[str, str]


def newchannel(channel_id: str) -> Fields:
    return {"Event": "Newchannel", "Uniqueid": channel_id, "ChannelState": "0"}


def up(channel_id: str) -> Fields:
    return {"Event": "Newstate", "Uniqueid": channel_id, "ChannelState": "6"}


def ringing(channel_id: str) -> Fields:
    return {"Event": "DialState", "DestUniqueid": channel_id, "DialStatus": "RINGING"}


def hangup_request(channel_id: str) -> Fields:
    return {"Event": "HangupRequest", "Uniqueid": channel_id}


def hangup(channel_id: str, cause: int, tech: str = "") -> Fields:
    fields = {"Event": "Hangup", "Uniqueid": channel_id, "Cause": str(cause)}
    return {**fields, "TechCause": tech} if tech else fields


def response(channel_id: str, *, success: bool, reason: int) -> Fields:
    return {
        "Event": "OriginateResponse",
        "ActionID": channel_id,
        "Response": "Success" if success else "Failure",
        "Reason": str(reason),
        "Uniqueid": channel_id,
    }


def enter(channel_id: str, bridge: str, technology: str = "simple_bridge") -> Fields:
    return {
        "Event": "BridgeEnter",
        "Uniqueid": channel_id,
        "BridgeUniqueid": bridge,
        "BridgeTechnology": technology,
    }


def leave(channel_id: str, bridge: str) -> Fields:
    return {"Event": "BridgeLeave", "Uniqueid": channel_id, "BridgeUniqueid": bridge}


def live(channel_id: str, *, kind: str, answered: bool, bridge: str = "") -> Fields:
    """One CoreShowChannel of ours."""
    return {
        "Channel": f"PJSIP/x-{channel_id}",
        "Uniqueid": channel_id,
        "ChannelStateDesc": "Up" if answered else "Ring",
        "BridgeId": bridge,
        "Duration": "00:01:05",
        "ChanVariable": f"DIALER_ID={channel_id}",
        "chanvariable": f"DIALER_KIND={kind}",
    }
