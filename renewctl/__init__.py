"""renewctl: the yearly renewal of an Apple MDM push certificate, made boring."""

__version__ = "0.1.0"
