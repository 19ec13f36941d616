"""The list of cases. A case is a function whose name states what it proves."""

CASES = []


class Case:
    def __init__(self, function, wire):
        self.function, self.wire = function, wire
        self.topic = function.__module__.split(".")[-1]
        sentence = function.__name__.replace("_", " ")
        self.name = "%s: %s" % (self.topic, sentence + (" (%s)" % wire if wire else ""))

    def run(self, fixture):
        self.function(fixture)


def case(function):
    """Registers a case that uses no socket, or only one particular wire."""
    CASES.append(Case(function, None))
    return function


def on_both_wires(function):
    """Registers a case that runs over TCP and again over WebSocket."""
    CASES.append(Case(function, "tcp"))
    CASES.append(Case(function, "ws"))
    return function
