"""JSON of results and of the state of services: lossless, or refused by name."""

from choreo.saga.codec.classes import class_named
from choreo.saga.codec.decoding import decode
from choreo.saga.codec.encoding import Encoder, as_text, encode
from choreo.saga.codec.errors import Undecodable

__all__ = ["Encoder", "Undecodable", "as_text", "class_named", "decode", "encode"]
