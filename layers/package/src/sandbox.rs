//! The sandbox in which build scripts run.
