//! The `tritforge` command as its users see it: output, messages and exit codes.

mod bench;
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
