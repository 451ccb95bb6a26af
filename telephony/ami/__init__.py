"""The real switch: Asterisk's manager interface behind the switch port."""

from telephony.ami.switch import AmiAccount, AmiSwitch

__all__ = ["AmiAccount", "AmiSwitch"]
