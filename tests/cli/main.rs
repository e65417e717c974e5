//! The `tritforge` command as its users see it: output, messages and exit codes.

mod bench;
mod bench_guard;
mod bench_report;
mod command;
mod convert;
mod errors;
mod help;
mod inspect;
mod pipes;
mod run;
mod synth;
mod tokenize;
mod tune;
mod verify;
