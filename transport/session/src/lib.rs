//! The session every wire shares: from frames to requests on a gateway and back
