//! Tables of calls and reports, and the events that they must give.
