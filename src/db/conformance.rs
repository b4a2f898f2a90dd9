//! The executable contract of `DBDrv`.
