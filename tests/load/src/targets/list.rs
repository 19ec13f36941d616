//! Targets, as shares of limits that the same run measures.

/// Value of a report that is checked.
#[derive(Clone, Copy, Debug)]
pub(super) enum CheckedValue {
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
pub(super) enum TargetBound {
    AtLeast(f64),
    AtMost(f64),
}

/// Target of a scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetCheck {
    pub(super) what: CheckedValue,
    pub(super) text: &'static str,
    pub(super) bound: TargetBound,
    pub(super) unit: &'static str,
}

/// Scenario and its targets. HALF stands for half of the rate that the line before answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetLine {
    pub(super) words: &'static str,
    pub(super) checks: &'static [TargetCheck],
}

const fn least(
    what: CheckedValue,
    text: &'static str,
    bound: f64,
    unit: &'static str,
) -> TargetCheck {
    TargetCheck {
        what,
        text,
        bound: TargetBound::AtLeast(bound),
        unit,
    }
}

const fn most(
    what: CheckedValue,
    text: &'static str,
    bound: f64,
    unit: &'static str,
) -> TargetCheck {
    TargetCheck {
        what,
        text,
        bound: TargetBound::AtMost(bound),
        unit,
    }
}

const ANSWERED: CheckedValue = CheckedValue::Share("answered");
const ECHO_1: &[TargetCheck] = &[least(ANSWERED, "answered, of the echo", 40.0, "%")];
const ECHO_16: &[TargetCheck] = &[least(ANSWERED, "answered, of the echo", 15.0, "%")];
const ROOM: &[TargetCheck] = &[
    least(
        CheckedValue::Share("delivered"),
        "delivered, of the bare fan-out",
        75.0,
        "%",
    ),
    most(
        CheckedValue::Figure("CPU each, of the bare server's"),
        "server CPU of a delivery, of the bare one's",
        1.5,
        "x",
    ),
];
const SITTING: TargetCheck = most(
    CheckedValue::Figure("server CPU per 10,000"),
    "server CPU of 10,000 idle users",
    2.0,
    "%",
);
const PAGES: &[TargetCheck] = &[least(
    CheckedValue::Share("synced"),
    "synced, of the engine's page read",
    50.0,
    "%",
)];
const STORM: &[TargetCheck] = &[most(
    CheckedValue::Figure("times the bare connects"),
    "all live again, of the bare connects",
    2.5,
    "x",
)];

pub(super) const LIST: &[TargetLine] = &[
    TargetLine {
        words: "direct --store mysql --users 1000 --outstanding 16",
        checks: &[
            least(ANSWERED, "answered, of the batched transaction", 40.0, "%"),
            least(
                CheckedValue::Times("answered", 1),
                "answered, of gim's way",
                4.0,
                "x",
            ),
        ],
    },
    TargetLine {
        words: "direct --store sled --users 1000 --outstanding 4",
        checks: &[least(ANSWERED, "answered, of the raw sled", 60.0, "%")],
    },
    TargetLine {
        words: "direct --store sled --users 1000 --rate HALF",
        checks: &[most(
            CheckedValue::P99("end to end"),
            "p99 at half of the peak",
            15.0,
            "ms",
        )],
    },
    TargetLine {
        words: "direct --store memory --users 100 --outstanding 1",
        checks: ECHO_1,
    },
    TargetLine {
        words: "direct --store memory --users 1000 --outstanding 1",
        checks: ECHO_1,
    },
    TargetLine {
        words: "direct --store memory --users 100 --outstanding 16",
        checks: ECHO_16,
    },
    TargetLine {
        words: "direct --store memory --users 1000 --outstanding 16",
        checks: ECHO_16,
    },
    TargetLine {
        words: "group --store mysql --members 500 --groups 4 --outstanding 4",
        checks: &[
            least(
                CheckedValue::Share("rows"),
                "rows, of the multi-row transaction",
                40.0,
                "%",
            ),
            least(
                CheckedValue::Times("rows", 1),
                "rows, of one commit a member",
                10.0,
                "x",
            ),
        ],
    },
    TargetLine {
        words: "room --members 1000 --burst 1",
        checks: ROOM,
    },
    TargetLine {
        words: "room --members 1000 --burst 16",
        checks: ROOM,
    },
    TargetLine {
        words: "room --members 10000 --burst 1",
        checks: ROOM,
    },
    TargetLine {
        words: "room --members 10000 --burst 16",
        checks: ROOM,
    },
    TargetLine {
        words: "idle --users 19000 --wire tcp",
        checks: &[
            most(
                CheckedValue::Figure("server memory each"),
                "memory, TCP",
                2048.0,
                "bytes",
            ),
            SITTING,
        ],
    },
    TargetLine {
        words: "idle --users 19000 --wire ws",
        checks: &[
            most(
                CheckedValue::Figure("server memory each"),
                "memory, WebSocket",
                5120.0,
                "bytes",
            ),
            SITTING,
        ],
    },
    TargetLine {
        words: "sync --store memory",
        checks: &[least(
            CheckedValue::Figure("synced"),
            "synced from memory",
            300_000.0,
            "1/s",
        )],
    },
    TargetLine {
        words: "sync --store sled",
        checks: PAGES,
    },
    TargetLine {
        words: "sync --store mysql",
        checks: PAGES,
    },
    TargetLine {
        words: "storm --users 19000 --store memory",
        checks: STORM,
    },
    TargetLine {
        words: "storm --users 19000 --store sled",
        checks: STORM,
    },
    TargetLine {
        words: "storm --users 100000 --nodes 6 --store mysql",
        checks: STORM,
    },
    TargetLine {
        words: "direct --users 2 --rate 200 --store memory",
        checks: &[most(
            CheckedValue::P50("end to end"),
            "p50, memory",
            0.2,
            "ms",
        )],
    },
    TargetLine {
        words: "direct --users 2 --rate 200 --store sled",
        checks: &[most(
            CheckedValue::Figure("p50 above one commit"),
            "p50 above one commit, sled",
            0.3,
            "ms",
        )],
    },
    TargetLine {
        words: "direct --users 2 --rate 200 --store mysql",
        checks: &[most(
            CheckedValue::Figure("p50 above one commit"),
            "p50 above one commit, MySQL",
            0.5,
            "ms",
        )],
    },
];
