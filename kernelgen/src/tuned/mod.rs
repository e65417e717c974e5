//! Tuned profiles: which schedules were measured to be the fastest on a machine, and how fast.
//!
//! `tritforge tune` writes them. [`Builder::tuned`](crate::Builder::tuned) generates the kernels that the profiles of a
//! folder name, and links the profiles with them; at run time the one that fits the CPU is followed. The format, version
//! [`VERSION`], is TOML:
//!
//! ```toml
//! version = 1
//!
//! [cpu]                       # what the profile was measured on: see CpuId
//! arch = "x86_64"
//! vendor = "AuthenticAMD"
//! model = "family 26 model 2"
//! name = "AMD EPYC"
//! isas = ["portable", "avx2"]
//!
//! [made]
//! date = "2026-11-28"
//! commit = "0123abcd"
//! by = "tritforge tune --search"
//! probe = 28.4                # GB/s that one thread read
//!
//! [settings]                  # optional, each of them
//! threads = 2
//! stream_kib = 512
//! chunk_kib = 64
//! head_streams = 3
//!
//! [[kernel]]                  # one for each operation, instruction set and class of shapes
//! name = "gemv_i2a16_anyxany_u4c1nr1p3072t3__avx2"
//! class = "long"
//! cost = 2.1                  # nanoseconds for 256 weights and all tokens of the operation, one thread
//! of_probe = 0.95             # of the probed bandwidth, or of the peak
//! noise = 0.02                # half the interquartile range of the samples, of their median
//! runner_up = "u4c1nr1p4096t3"
//! behind = 0.01               # by how much the runner-up is slower
//! regret = { default = 0.04 } # by how much others are slower: the default schedule, profiles of related machines
//! ```

mod cpu;
mod error;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use cpu::{CpuId, Kinship};
pub use error::ProfileError;

use crate::abi::SHORT_COLS;
use crate::schedule::STREAMS_LIMIT;
use crate::spec::{KernelSpec, Shape};

/// The version of the format.
pub const VERSION: u32 = 1;

/// The most bytes of a profile that are read.
const MOST_BYTES: u64 = 1 << 20;

/// Matrices of about the same width, which are served best by the same schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// K up to [`SHORT_COLS`].
    Short,
    /// Greater K.
    Long,
}

impl Class {
    /// The class of a matrix of so many columns.
    pub fn of(cols: usize) -> Self {
        if cols <= SHORT_COLS { Class::Short } else { Class::Long }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Class::Short => "short",
            Class::Long => "long",
        }
    }
}

/// When and how a profile was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The day, as in 2026-11-28.
    pub date: String,
    /// The commit of the program, as far as it is known.
    pub commit: String,
    /// The command.
    pub by: String,
    /// The bytes that one thread read from memory at the same time, in GB/s: says what machine it was, no more.
    pub probe: f64,
}

/// What else was tuned. `None` keeps the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Threads, at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// KiB of weights that a thread takes at a time of what is read once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_kib: Option<usize>,
    /// KiB of weights, as kernels read them, that are multiplied by all tokens before the next ones are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_kib: Option<usize>,
    /// Streams in which the output head's kernels read their weights, 1 to 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_streams: Option<usize>,
}

/// The most KiB of a setting: more than any cache.
const MOST_KIB: usize = 1 << 20;
/// The most threads.
const MOST_THREADS: usize = 1024;

/// The fastest kernel of an operation on an instruction set for a class of shapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedKernel {
    /// The name of the generic kernel.
    pub name: String,
    /// The shapes.
    pub class: Class,
    /// Nanoseconds for 256 weights and all tokens of the operation, on one thread.
    pub cost: f64,
    /// Of the probed bandwidth where weights come from memory, else of the probed peak of the instruction set.
    pub of_probe: f64,
    /// Half the interquartile range of the ratio's samples, relative to their median.
    pub noise: f64,
    /// The schedule of the next fastest, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<String>,
    /// By how much that one is slower, relative; 0 where there was none.
    #[serde(default)]
    pub behind: f64,
    /// By how much others are slower over all shapes of the class, relative: `default`, and the file stems of profiles of
    /// related machines.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub regret: BTreeMap<String, f64>,
}

impl TunedKernel {
    /// What kernel it is.
    ///
    /// # Errors
    /// [`ProfileError::Kernel`] for a name that none has, and for kernels of fixed shapes.
    pub fn spec(&self) -> Result<KernelSpec, ProfileError> {
        let wrong = |reason: String| ProfileError::Kernel { name: self.name.clone(), reason };
        let spec: KernelSpec = self.name.parse().map_err(|e: crate::spec::NameError| wrong(e.reason))?;
        match spec.shape {
            Shape::Any => Ok(spec),
            Shape::Fixed { .. } => Err(wrong("profiles name generic kernels, anyxany".to_owned())),
        }
    }
}

/// The profile of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedProfile {
    /// The version of the format: [`VERSION`].
    pub version: u32,
    /// The machine.
    pub cpu: CpuId,
    /// How it was made.
    pub made: Made,
    /// What else was tuned.
    #[serde(default)]
    pub settings: Settings,
    /// The kernels.
    #[serde(default, rename = "kernel")]
    pub kernels: Vec<TunedKernel>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl TunedProfile {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`ProfileError`] for any text that is no profile of this version.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let syntax = |error: toml::de::Error| ProfileError::Syntax(error.to_string().trim_end().to_owned());
        // First, for other versions have other fields.
        let Versioned { version } = toml::from_str(text).map_err(syntax)?;
        if version != VERSION {
            return Err(ProfileError::Version { found: version });
        }
        let profile: TunedProfile = toml::from_str(text).map_err(syntax)?;
        profile.validate()?;
        Ok(profile)
    }

    fn validate(&self) -> Result<(), ProfileError> {
        let setting = |name, value: Option<usize>, most| match value {
            Some(found) if !(1..=most).contains(&found) => Err(ProfileError::Setting {
                name,
                found: found.to_string(),
                expected: format!("1 to {most}"),
            }),
            _ => Ok(()),
        };
        setting("threads", self.settings.threads, MOST_THREADS)?;
        setting("stream_kib", self.settings.stream_kib, MOST_KIB)?;
        setting("chunk_kib", self.settings.chunk_kib, MOST_KIB)?;
        setting("head_streams", self.settings.head_streams, STREAMS_LIMIT)?;
        let mut known = std::collections::BTreeSet::new();
        for kernel in &self.kernels {
            let spec = kernel.spec()?;
            let wrong = |reason: &str| {
                Err(ProfileError::Kernel { name: kernel.name.clone(), reason: reason.to_owned() })
            };
            if !(kernel.cost.is_finite() && kernel.cost > 0.0) {
                return wrong("its cost is no positive number");
            }
            let others = kernel.regret.values().chain([&kernel.of_probe, &kernel.noise, &kernel.behind]);
            if others.copied().any(|figure| !figure.is_finite()) {
                return wrong("a figure is not finite");
            }
            if !known.insert((spec.isa.id(), spec.operation, kernel.class)) {
                return wrong("its operation, instruction set and class have a kernel already");
            }
        }
        Ok(())
    }

    /// The profile as a file holds it.
    ///
    /// # Errors
    /// [`ProfileError::Syntax`] for what TOML cannot hold, which no profile that was read or measured has.
    pub fn to_toml(&self) -> Result<String, ProfileError> {
        toml::to_string(self).map_err(|error| ProfileError::Syntax(error.to_string()))
    }

    /// Reads a profile from a file.
    ///
    /// # Errors
    /// [`ProfileError::File`], which holds what is wrong.
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let place = |error| ProfileError::File { path: path.to_owned(), error: Box::new(error) };
        let io = |error: std::io::Error| place(ProfileError::Io(error.to_string()));
        let found = std::fs::metadata(path).map_err(io)?.len();
        if found > MOST_BYTES {
            return Err(place(ProfileError::TooLarge { found, most: MOST_BYTES }));
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        Self::parse(&text).map_err(place)
    }

    /// Reads the profiles of a folder, the files that end in `.toml`, with their file stems, in the order of these. A folder
    /// that is not there holds none.
    ///
    /// # Errors
    /// [`ProfileError::File`] for the first one that is wrong.
    pub fn load_folder(folder: &Path) -> Result<Vec<(String, TunedProfile)>, ProfileError> {
        profile_files(folder)?
            .into_iter()
            .map(|path| {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                Ok((stem, Self::load(&path)?))
            })
            .collect()
    }

    /// The kernel of an operation, given by its name as in `gemm4`, on an instruction set for a class.
    pub fn kernel(&self, isa: &str, operation: &str, class: Class) -> Option<&TunedKernel> {
        self.kernels.iter().find(|kernel| {
            let starts = kernel.name.split('_').next() == Some(operation);
            let ends = kernel.name.rsplit_once("__").is_some_and(|(_, id)| id == isa);
            kernel.class == class && starts && ends
        })
    }
}

/// The files of a folder that end in `.toml`, sorted.
pub(crate) fn profile_files(folder: &Path) -> Result<Vec<PathBuf>, ProfileError> {
    let place = |error: std::io::Error| ProfileError::File {
        path: folder.to_owned(),
        error: Box::new(ProfileError::Io(error.to_string())),
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(place)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(place)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
