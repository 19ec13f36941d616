"""A protobuf codec without generated code: varints, tags and a table of messages.

A schema is text, "name=number:kind" separated by spaces. Kinds:

    int      int32, int64 or an enum: a varint, negative numbers as 64-bit two's complement
    bool     a varint
    bytes, string
    double   eight bytes, little endian
    Name     another message of the table
    *kind    repeated; integers are written packed and read packed or not

Decoding is strict about fields in the table (wire types, UTF-8, truncation) and skips unknown
fields, as protobuf requires: their numbers are kept in `unknown_fields`.
"""

import struct

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_WIRE_TYPE = {"int": VARINT, "bool": VARINT, "double": FIXED64}
_DEFAULT = {"int": 0, "bool": False, "bytes": b"", "string": "", "double": 0.0}


class DecodeError(Exception):
    """The bytes do not encode the expected message."""


class Unpacked(list):
    """A repeated integer encoded with one tag per number, as fim does."""


class Message:
    """A decoded message. Fields are attributes; absent fields have their default."""

    def __init__(self, name, fields, unknown_fields=()):
        self.__dict__.update(fields)
        self.message_name = name
        self.unknown_fields = tuple(unknown_fields)

    def fields(self):
        """Returns the fields as a plain dict, nested messages included, for comparing and printing."""
        hidden = ("message_name", "unknown_fields")
        return {k: _plain(v) for k, v in self.__dict__.items() if k not in hidden}

    def __eq__(self, other):
        return isinstance(other, Message) and self.fields() == other.fields()

    def __repr__(self):
        return "%s%r" % (self.message_name, self.fields())


def _plain(value):
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value.fields() if isinstance(value, Message) else value


class Field:
    def __init__(self, text):
        self.name, rest = text.split("=")
        number, kind = rest.split(":")
        self.number = int(number)
        self.repeated = kind.startswith("*")
        self.kind = kind.lstrip("*")
        self.wire_type = _WIRE_TYPE.get(self.kind, LENGTH)


class Codec:
    """Encodes and decodes the messages of one table."""

    def __init__(self, table):
        self._by_name, self._by_number = {}, {}
        for name, schema in table.items():
            fields = [Field(text) for text in schema.split()]
            self._by_name[name] = {f.name: f for f in fields}
            self._by_number[name] = {f.number: f for f in fields}

    def encode(self, name, /, **values):
        """Encodes message `name`. As in proto3, a field with its default value is left out."""
        known = self._by_name[name]
        for key in values:
            if key not in known:
                raise KeyError("%s has no field %r" % (name, key))
        ordered = sorted(values.items(), key=lambda item: known[item[0]].number)
        return b"".join(self._field(known[key], value) for key, value in ordered)

    def _field(self, field, value):
        if field.repeated:
            if field.kind == "int" and not isinstance(value, Unpacked):
                body = b"".join(varint(v) for v in value)
                return _tag(field.number, LENGTH) + varint(len(body)) + body if body else b""
            return b"".join(self._single(field, item) for item in value)
        if field.kind in _DEFAULT and value == _DEFAULT[field.kind]:
            return b""
        return self._single(field, value)

    def _single(self, field, value):
        tag = _tag(field.number, field.wire_type)
        if field.wire_type == VARINT:
            return tag + varint(int(value))
        if field.wire_type == FIXED64:
            return tag + struct.pack("<d", value)
        if field.kind == "string":
            value = value.encode("utf-8")
        elif field.kind != "bytes":
            value = self.encode(field.kind, **value)
        return tag + varint(len(value)) + value

    def decode(self, name, data):
        known = self._by_number[name]
        values = {
            f.name: [] if f.repeated else _DEFAULT.get(f.kind) for f in known.values()
        }
        unknown, at = [], 0
        while at < len(data):
            key, at = _read_varint(data, at)
            number, wire_type = key >> 3, key & 7
            raw, at = _read_raw(data, at, wire_type)
            field = known.get(number)
            if number == 0:
                raise DecodeError("%s: field number 0" % name)
            if field is None:
                unknown.append(number)
            elif field.repeated:
                values[field.name].extend(self._items(name, field, wire_type, raw))
            else:
                values[field.name] = self._value(name, field, wire_type, raw)
        return Message(name, values, unknown)

    def _items(self, name, field, wire_type, raw):
        if field.wire_type != VARINT or wire_type != LENGTH:
            return [self._value(name, field, wire_type, raw)]
        items, at = [], 0
        while at < len(raw):
            item, at = _read_varint(raw, at)
            items.append(_signed(item))
        return items

    def _value(self, name, field, wire_type, raw):
        if wire_type != field.wire_type:
            raise DecodeError(
                "%s.%s has wire type %d, not %d" % (name, field.name, wire_type, field.wire_type)
            )
        if field.kind == "int":
            return _signed(raw)
        if field.kind == "bool":
            return raw != 0
        if field.kind == "bytes":
            return bytes(raw)
        if field.kind == "double":
            return struct.unpack("<d", raw)[0]
        if field.kind == "string":
            try:
                return bytes(raw).decode("utf-8")
            except UnicodeDecodeError as error:
                raise DecodeError("%s.%s: %s" % (name, field.name, error)) from error
        return self.decode(field.kind, raw)


def varint(number):
    """Encodes a base-128 varint; a negative number takes ten bytes."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _tag(number, wire_type):
    return varint(number << 3 | wire_type)


def _signed(number):
    return number - (1 << 64) if number >> 63 else number


def _read_varint(data, at):
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise DecodeError("a varint is cut off")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & ((1 << 64) - 1), at
    raise DecodeError("a varint is longer than ten bytes")


def _read_raw(data, at, wire_type):
    if wire_type == VARINT:
        return _read_varint(data, at)
    if wire_type == LENGTH:
        size, at = _read_varint(data, at)
    elif wire_type in (FIXED64, FIXED32):
        size = 8 if wire_type == FIXED64 else 4
    else:
        raise DecodeError("wire type %d" % wire_type)
    if at + size > len(data):
        raise DecodeError("a field of %d bytes is cut off" % size)
    return data[at : at + size], at + size
