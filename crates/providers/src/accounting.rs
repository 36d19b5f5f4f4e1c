//! Each provider's accounting rules: what a call counts against which limit.
