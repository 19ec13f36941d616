//! Targets, as shares of limits that the same run measures.

/// Value of a report that is checked.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// Value of a figure.
    Figure(&'static str),
    /// Figure in percent of the limit that it is printed with.
    Share(&'static str),
    /// Figure divided by the limit at this index of the report.
    Times(&'static str, usize),
    /// Median of times, in milliseconds.
    P50(&'static str),
    /// 99th percentile of times, in milliseconds.
    P99(&'static str),
}

/// Bound of the good values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Target of a scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    pub(super) what: What,
    pub(super) text: &'static str,
    pub(super) bound: Bound,
    pub(super) unit: &'static str,
}

/// Scenario and its targets. HALF stands for half of the rate that the line before answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) words: &'static str,
    pub(super) checks: &'static [Check],
}

const fn least(what: What, text: &'static str, bound: f64, unit: &'static str) -> Check {
    Check {
        what,
        text,
        bound: Bound::AtLeast(bound),
        unit,
    }
}

const fn most(what: What, text: &'static str, bound: f64, unit: &'static str) -> Check {
    Check {
        what,
        text,
        bound: Bound::AtMost(bound),
        unit,
    }
}

const ANSWERED: What = What::Share("answered");
const ECHO_1: &[Check] = &[least(ANSWERED, "answered, of the echo", 40.0, "%")];
const ECHO_16: &[Check] = &[least(ANSWERED, "answered, of the echo", 15.0, "%")];
const ROOM: &[Check] = &[
    least(
        What::Share("delivered"),
        "delivered, of the bare fan-out",
        75.0,
        "%",
    ),
    most(
        What::Figure("CPU each, of the bare server's"),
        "server CPU of a delivery, of the bare one's",
        1.5,
        "x",
    ),
];
const SITTING: Check = most(
    What::Figure("server CPU per 10,000"),
    "server CPU of 10,000 idle users",
    2.0,
    "%",
);
const PAGES: &[Check] = &[least(
    What::Share("synced"),
    "synced, of the engine's page read",
    50.0,
    "%",
)];
const STORM: &[Check] = &[most(
    What::Figure("times the bare connects"),
    "all live again, of the bare connects",
    2.5,
    "x",
)];

pub(super) const LIST: &[Line] = &[
    Line {
        words: "direct --store mysql --users 1000 --outstanding 16",
        checks: &[
            least(ANSWERED, "answered, of the batched transaction", 40.0, "%"),
            least(
                What::Times("answered", 1),
                "answered, of gim's way",
                4.0,
                "x",
            ),
        ],
    },
    Line {
        words: "direct --store sled --users 1000 --outstanding 4",
        checks: &[least(ANSWERED, "answered, of the raw sled", 60.0, "%")],
    },
    Line {
        words: "direct --store sled --users 1000 --rate HALF",
        checks: &[most(
            What::P99("end to end"),
            "p99 at half of the peak",
            15.0,
            "ms",
        )],
    },
    Line {
        words: "direct --store memory --users 100 --outstanding 1",
        checks: ECHO_1,
    },
    Line {
        words: "direct --store memory --users 1000 --outstanding 1",
        checks: ECHO_1,
    },
    Line {
        words: "direct --store memory --users 100 --outstanding 16",
        checks: ECHO_16,
    },
    Line {
        words: "direct --store memory --users 1000 --outstanding 16",
        checks: ECHO_16,
    },
    Line {
        words: "group --store mysql --members 500 --groups 4 --outstanding 4",
        checks: &[
            least(
                What::Share("rows"),
                "rows, of the multi-row transaction",
                40.0,
                "%",
            ),
            least(
                What::Times("rows", 1),
                "rows, of one commit a member",
                10.0,
                "x",
            ),
        ],
    },
    Line {
        words: "room --members 1000 --burst 1",
        checks: ROOM,
    },
    Line {
        words: "room --members 1000 --burst 16",
        checks: ROOM,
    },
    Line {
        words: "room --members 10000 --burst 1",
        checks: ROOM,
    },
    Line {
        words: "room --members 10000 --burst 16",
        checks: ROOM,
    },
    Line {
        words: "idle --users 19000 --wire tcp",
        checks: &[
            most(
                What::Figure("server memory each"),
                "memory, TCP",
                2048.0,
                "bytes",
            ),
            SITTING,
        ],
    },
    Line {
        words: "idle --users 19000 --wire ws",
        checks: &[
            most(
                What::Figure("server memory each"),
                "memory, WebSocket",
                5120.0,
                "bytes",
            ),
            SITTING,
        ],
    },
    Line {
        words: "sync --store memory",
        checks: &[least(
            What::Figure("synced"),
            "synced from memory",
            300_000.0,
            "1/s",
        )],
    },
    Line {
        words: "sync --store sled",
        checks: PAGES,
    },
    Line {
        words: "sync --store mysql",
        checks: PAGES,
    },
    Line {
        words: "storm --users 19000 --store memory",
        checks: STORM,
    },
    Line {
        words: "storm --users 19000 --store sled",
        checks: STORM,
    },
    Line {
        words: "storm --users 100000 --nodes 6 --store mysql",
        checks: STORM,
    },
    Line {
        words: "direct --users 2 --rate 200 --store memory",
        checks: &[most(What::P50("end to end"), "p50, memory", 0.2, "ms")],
    },
    Line {
        words: "direct --users 2 --rate 200 --store sled",
        checks: &[most(
            What::Figure("p50 above one commit"),
            "p50 above one commit, sled",
            0.3,
            "ms",
        )],
    },
    Line {
        words: "direct --users 2 --rate 200 --store mysql",
        checks: &[most(
            What::Figure("p50 above one commit"),
            "p50 above one commit, MySQL",
            0.5,
            "ms",
        )],
    },
];
