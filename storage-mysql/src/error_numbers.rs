//! The error numbers of a running server, classified by what they affect: this statement, this
//! connection, or this server.
//!
//! The names are those of "Server Error Message Reference" in MySQL's 8.0 and 8.4 manuals and of
//! MariaDB's `perror` (10.11, 11.4). Numbers from 8000 on are TiDB's ("Error Codes" of its manual)
//! and those of `ProxySQL`. A number that is not listed affects its statement alone.

/// Part of the system that an error number affects, which decides what is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorScope {
    /// The server ended the transaction in favour of another one: a retry may succeed.
    Conflict,
    /// Another session holds a lock beyond the lock wait timeout, or at all for a statement with
    /// `NOWAIT`. The caller of an append divides its batch; everything else is retried.
    Locked,
    /// A row with this unique key exists already.
    Duplicate,
    /// A value does not fit its column: the caller's mistake, not retried.
    Value,
    /// The disk, the table space or a quota is full: not retried, code 8.
    Full,
    /// Stored data is damaged: not retried.
    Damaged,
    /// The statement failed and would fail again: not retried.
    Statement,
    /// The server has no prepared statements left: the connection is closed, new connections keep
    /// fewer of them, and the work is retried.
    Statements,
    /// This connection is unusable: the work is retried on another one.
    Connection,
    /// This server accepts no changes: all connections to it are closed, and the address is
    /// resolved again, because it may lead to another server now.
    Server,
    /// The server accepts no further connection: the work waits for one that is open.
    Crowded,
}

use ErrorScope::{
    Conflict, Connection, Crowded, Damaged, Duplicate, Full, Locked, Server, Statement, Statements,
    Value,
};

/// Returns the scope of an error number.
#[must_use]
pub fn error_scope(number: u16) -> ErrorScope {
    ERROR_NUMBERS
        .binary_search_by_key(&number, |(listed, ..)| *listed)
        .ok()
        .and_then(|at| ERROR_NUMBERS.get(at))
        .map_or(Statement, |(_, _, scope)| *scope)
}

/// Every number with its name and scope, ascending by number.
pub const ERROR_NUMBERS: &[(u16, &str, ErrorScope)] = &[
    (3, "EE_WRITE", Full),
    (1020, "ER_CHECKREAD", Conflict),
    (1021, "ER_DISK_FULL", Full),
    (1026, "ER_ERROR_ON_WRITE", Statement),
    (1030, "ER_GET_ERRNO", Statement),
    (1034, "ER_NOT_KEYFILE", Damaged),
    (1035, "ER_OLD_KEYFILE", Damaged),
    // The engine was opened read-only (innodb_read_only, innodb_force_recovery).
    (1036, "ER_OPEN_AS_READONLY", Server),
    (1037, "ER_OUTOFMEMORY", Connection),
    (1038, "ER_OUT_OF_SORTMEMORY", Statement),
    (1040, "ER_CON_COUNT_ERROR", Crowded),
    (1041, "ER_OUT_OF_RESOURCES", Connection),
    (1042, "ER_BAD_HOST_ERROR", Connection),
    (1043, "ER_HANDSHAKE_ERROR", Connection),
    (1044, "ER_DBACCESS_DENIED_ERROR", Statement),
    (1045, "ER_ACCESS_DENIED_ERROR", Statement),
    // A Galera node that is not part of the primary component.
    (1047, "ER_UNKNOWN_COM_ERROR", Server),
    (1048, "ER_BAD_NULL_ERROR", Value),
    (1049, "ER_BAD_DB_ERROR", Statement),
    (1053, "ER_SERVER_SHUTDOWN", Server),
    (1054, "ER_BAD_FIELD_ERROR", Statement),
    (1062, "ER_DUP_ENTRY", Duplicate),
    (1064, "ER_PARSE_ERROR", Statement),
    (1077, "ER_NORMAL_SHUTDOWN", Server),
    (1079, "ER_SHUTDOWN_COMPLETE", Server),
    (1080, "ER_FORCING_CLOSE", Connection),
    (1105, "ER_UNKNOWN_ERROR", Statement),
    (1114, "ER_RECORD_FILE_FULL", Full),
    (1129, "ER_HOST_IS_BLOCKED", Statement),
    (1130, "ER_HOST_NOT_PRIVILEGED", Statement),
    (1135, "ER_CANT_CREATE_THREAD", Crowded),
    (1142, "ER_TABLEACCESS_DENIED_ERROR", Statement),
    (1143, "ER_COLUMNACCESS_DENIED_ERROR", Statement),
    (1146, "ER_NO_SUCH_TABLE", Statement),
    (1152, "ER_ABORTING_CONNECTION", Connection),
    (1153, "ER_NET_PACKET_TOO_LARGE", Connection),
    (1154, "ER_NET_READ_ERROR_FROM_PIPE", Connection),
    (1155, "ER_NET_FCNTL_ERROR", Connection),
    (1156, "ER_NET_PACKETS_OUT_OF_ORDER", Connection),
    (1157, "ER_NET_UNCOMPRESS_ERROR", Connection),
    (1158, "ER_NET_READ_ERROR", Connection),
    (1159, "ER_NET_READ_INTERRUPTED", Connection),
    (1160, "ER_NET_ERROR_ON_WRITE", Connection),
    (1161, "ER_NET_WRITE_INTERRUPTED", Connection),
    (1180, "ER_ERROR_DURING_COMMIT", Statement),
    (1181, "ER_ERROR_DURING_ROLLBACK", Connection),
    (1184, "ER_NEW_ABORTING_CONNECTION", Connection),
    (1194, "ER_CRASHED_ON_USAGE", Damaged),
    (1195, "ER_CRASHED_ON_REPAIR", Damaged),
    (1203, "ER_TOO_MANY_USER_CONNECTIONS", Crowded),
    (1205, "ER_LOCK_WAIT_TIMEOUT", Locked),
    (1206, "ER_LOCK_TABLE_FULL", Statement),
    (1213, "ER_LOCK_DEADLOCK", Conflict),
    // This very session holds FLUSH TABLES WITH READ LOCK: left over by a proxy that shares
    // sessions.
    (1223, "ER_CANT_UPDATE_WITH_READLOCK", Connection),
    (1226, "ER_USER_LIMIT_REACHED", Crowded),
    (1227, "ER_SPECIFIC_ACCESS_DENIED_ERROR", Statement),
    // A proxy has put another session behind this connection.
    (1243, "ER_UNKNOWN_STMT_HANDLER", Connection),
    (1264, "ER_WARN_DATA_OUT_OF_RANGE", Value),
    // Set by --read-only or --super-read-only: a primary that was replaced.
    (1290, "ER_OPTION_PREVENTS_STATEMENT", Server),
    (1295, "ER_UNSUPPORTED_PS", Statement),
    (1317, "ER_QUERY_INTERRUPTED", Connection),
    (1366, "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD", Value),
    (1390, "ER_PS_MANY_PARAM", Statement),
    (1406, "ER_DATA_TOO_LONG", Value),
    (1461, "ER_MAX_PREPARED_STMT_COUNT_REACHED", Statements),
    (1586, "ER_DUP_ENTRY_WITH_KEY_NAME", Duplicate),
    (1598, "ER_BINLOG_LOGGING_IMPOSSIBLE", Statement),
    (1613, "ER_XA_RBTIMEOUT", Conflict),
    (1614, "ER_XA_RBDEADLOCK", Conflict),
    (1615, "ER_NEED_REPREPARE", Connection),
    (1637, "ER_TOO_MANY_CONCURRENT_TRXS", Conflict),
    (1665, "ER_BINLOG_STMT_MODE_AND_ROW_ENGINE", Statement),
    (1712, "ER_INDEX_CORRUPT", Damaged),
    // Transactions are READ ONLY by default: a server that was taken out of service.
    (1792, "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION", Server),
    (1815, "ER_INTERNAL_ERROR", Statement),
    (1820, "ER_MUST_CHANGE_PASSWORD", Statement),
    (1836, "ER_READ_ONLY_MODE", Server),
    (1862, "ER_MUST_CHANGE_PASSWORD_LOGIN", Statement),
    (1874, "ER_INNODB_READ_ONLY", Server),
    (1878, "ER_TEMP_FILE_WRITE_FAILURE", Full),
    (1927, "ER_CONNECTION_KILLED", Connection),
    // A primary whose GTIDs are behind those of the server that replaced it.
    (1950, "ER_GTID_STRICT_OUT_OF_ORDER", Server),
    (1964, "ER_PRIOR_COMMIT_FAILED", Conflict),
    (1969, "ER_STATEMENT_TIMEOUT", Statement),
    (3024, "ER_QUERY_TIMEOUT", Statement),
    (3032, "ER_SERVER_OFFLINE_MODE", Server),
    (3058, "ER_USER_LOCK_DEADLOCK", Conflict),
    // Group replication: a member without a majority, or a member that is not a primary.
    (3098, "ER_BEFORE_DML_VALIDATION_ERROR", Server),
    (3100, "ER_RUN_HOOK_ERROR", Server),
    (3101, "ER_TRANSACTION_ROLLBACK_DURING_COMMIT", Conflict),
    (3118, "ER_ACCOUNT_HAS_BEEN_LOCKED", Statement),
    (3159, "ER_SECURE_TRANSPORT_REQUIRED", Statement),
    (3168, "ER_SERVER_ISNT_AVAILABLE", Server),
    (3169, "ER_SESSION_WAS_KILLED", Connection),
    (3170, "ER_CAPACITY_EXCEEDED", Statement),
    (3572, "ER_LOCK_NOWAIT", Locked),
    (4031, "ER_CLIENT_INTERACTION_TIMEOUT", Connection),
    (4150, "ER_USER_IS_BLOCKED", Statement),
    (4151, "ER_ACCOUNT_HAS_BEEN_LOCKED", Statement),
    (8002, "TiDB: SELECT FOR UPDATE conflict", Conflict),
    (8005, "TiDB: write conflict", Conflict),
    (8022, "TiDB: transaction must be retried", Conflict),
    (8028, "TiDB: schema changed", Conflict),
    (
        9001,
        "ProxySQL: hostgroup unreachable; TiDB: PD timeout",
        Connection,
    ),
    (9002, "TiDB: TiKV timeout", Connection),
    (9003, "TiDB: TiKV busy", Connection),
    (9005, "TiDB: region unavailable", Connection),
    (9006, "ProxySQL: backend connection lost", Connection),
    (9007, "TiDB: write conflict", Conflict),
];

impl ErrorScope {
    /// Returns whether a COMMIT that failed with this number has certainly changed nothing, because
    /// the server refuses it before its engine commits.
    pub(crate) fn refuses_commit(self, number: u16) -> bool {
        // 3100 is not listed: it may come from a hook that runs after the commit.
        matches!(self, Conflict | Locked)
            || matches!(number, 1290 | 1792 | 1836 | 1874 | 3032 | 3098)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_are_found() {
        assert!(ERROR_NUMBERS.is_sorted_by(|a, b| a.0 < b.0));
        for (number, name, scope) in ERROR_NUMBERS {
            assert_eq!(error_scope(*number), *scope, "{name}");
        }
        assert_eq!(error_scope(1), Statement);
        assert_eq!(error_scope(u16::MAX), Statement);
    }
}
