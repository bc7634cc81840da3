//! The program `octconv` as its users run it: files in, files and lines out.

mod apply;
mod convert;
mod evaluate;
mod export;
mod files;
mod full;
mod hostile;
mod import;
mod maps;
mod means;
mod measure;
mod networks;
mod report;
mod run;
mod tune;
