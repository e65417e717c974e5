//! The generator as a library for build scripts.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::compile::{CompileError, Kernel, compile};
use crate::config::{self, ConfigError, ModelShapes};
use crate::emit::{self, Contents};
use crate::isa::{self, Isa};
use crate::layout;
use crate::schedule::Schedule;
use crate::spec::{KernelSpec, Operation, Shape};
use crate::table::{ScheduleTable, TableError};
use crate::tuned::{ProfileError, TunedProfile, profile_files};

/// Why kernels could not be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A model config is wrong or cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The schedule table is wrong.
    #[error("{path}: {error}")]
    Table {
        /// The file; `built in` where none was given.
        path: PathBuf,
        /// What is wrong with it.
        error: TableError,
    },
    /// A tuned profile is wrong.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// An ISA that the generator does not know.
    #[error("unknown ISA '{found}', known are {known}")]
    UnknownIsa {
        /// The id found.
        found: String,
        /// The ids known.
        known: String,
    },
    /// No schedule can serve a shape.
    #[error("{origin}: {error}")]
    Compile {
        /// The shape and where it comes from: `file:line:column: role of MxK`, or the builder.
        origin: String,
        /// Why it cannot be served.
        error: Box<CompileError>,
    },
    /// No output directory was given and cargo's `OUT_DIR` is not set.
    #[error("no output directory: call out_dir() or run from a build script, where cargo sets OUT_DIR")]
    NoOutDir,
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: std::io::Error,
    },
}

/// What was generated.
#[derive(Debug, Clone)]
pub struct Generated {
    /// The source, to be included as the body of a module.
    pub path: PathBuf,
    /// The names of all kernels.
    pub kernels: Vec<String>,
}

/// Generates kernels for model configs and single shapes.
///
/// The source holds, besides the kernels, everything they need; it depends on nothing but `std`. For every
/// operation and ISA there is a generic kernel, so that any matrix can be multiplied.
///
/// ```no_run
/// // build.rs
/// fn main() -> Result<(), kernelgen::BuildError> {
///     kernelgen::Builder::new().config("configs/my-model.toml").shape(777, 1000).generate()?;
///     Ok(())
/// }
/// // and in the crate: mod kernels { include!(concat!(env!("OUT_DIR"), "/kernels.rs")); }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Builder {
    configs: Vec<PathBuf>,
    shapes: Vec<(usize, usize)>,
    isas: Vec<String>,
    schedules: Option<PathBuf>,
    specialise_all: bool,
    variants: bool,
    tuned: Option<PathBuf>,
    out_dir: Option<PathBuf>,
}

impl Builder {
    /// A builder for generic kernels of every ISA.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the shapes of a model config, or of every config in a directory: the build makes sure that a kernel serves
    /// each, and generates kernels of their own as [`Builder::specialise_all`] says.
    pub fn config(mut self, path: impl Into<PathBuf>) -> Self {
        self.configs.push(path.into());
        self
    }

    /// Adds the configs of a list of paths, separated as the operating system separates those of `PATH`: what an
    /// environment variable holds. Relative paths start at `base`; an empty list adds nothing.
    pub fn config_list(self, list: impl AsRef<OsStr>, base: &Path) -> Self {
        let paths = std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty());
        paths.fold(self, |builder, path| builder.config(base.join(path)))
    }

    /// Adds a single matrix shape, rows M x columns K, as [`Builder::config`] adds many.
    pub fn shape(mut self, rows: usize, cols: usize) -> Self {
        self.shapes.push((rows, cols));
        self
    }

    /// Restricts the kernels to some ISAs, by id; without a call of this, all are generated. Keep `portable` among
    /// them where the program has to run on every CPU.
    pub fn isas<S: Into<String>>(mut self, ids: impl IntoIterator<Item = S>) -> Self {
        self.isas.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Uses the schedule table of a file instead of the built-in one.
    pub fn schedules(mut self, path: impl Into<PathBuf>) -> Self {
        self.schedules = Some(path.into());
        self
    }

    /// Generates kernels of every shape that was asked for on every ISA, whatever they gain. Without it, a shape gets
    /// kernels of its own where the schedule table says that they gain at least 3%
    /// ([`WORTHWHILE_GAIN`](crate::abi::WORTHWHILE_GAIN)) over the generic ones, which serve every shape.
    pub fn specialise_all(mut self) -> Self {
        self.specialise_all = true;
        self
    }

    /// Generates generic kernels of the schedule table's `variants` as well: what a program can choose among when it is
    /// tuned on the CPU that it runs on.
    pub fn variants(mut self) -> Self {
        self.variants = true;
        self
    }

    /// Links the tuned profiles of a folder (see [`crate::tuned`]), and generates the generic kernels that they name. A
    /// folder that is not there holds none.
    pub fn tuned(mut self, folder: impl Into<PathBuf>) -> Self {
        self.tuned = Some(folder.into());
        self
    }

    /// Writes to this directory instead of cargo's `OUT_DIR`.
    pub fn out_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(path.into());
        self
    }

    /// Compiles all kernels without writing anything.
    ///
    /// # Errors
    /// [`BuildError`] for a wrong config, table, ISA or shape.
    pub fn compile(&self) -> Result<Vec<Kernel>, BuildError> {
        self.kernels(&self.table()?, &self.selected()?, &config::load_all(&self.configs)?, &self.profiles()?)
    }

    fn kernels(
        &self,
        table: &ScheduleTable,
        isas: &[&'static dyn Isa],
        models: &[ModelShapes],
        profiles: &[(String, TunedProfile)],
    ) -> Result<Vec<Kernel>, BuildError> {
        // Each shape once, with where it was first asked for.
        let mut shapes: BTreeMap<(usize, usize), String> = BTreeMap::new();
        for &(rows, cols) in &self.shapes {
            shapes.entry((rows, cols)).or_insert_with(|| format!("shape {rows}x{cols}"));
        }
        for model in models {
            for matrix in model.matrices.iter().filter(|m| m.role.is_ternary()) {
                shapes.entry((matrix.rows, matrix.cols)).or_insert_with(|| {
                    let (file, role) = (model.file.display(), matrix.role.name());
                    format!(
                        "{file}:{}:{}: {role} of {}x{}",
                        matrix.line, matrix.column, matrix.rows, matrix.cols
                    )
                });
            }
        }
        let mut kernels = Vec::new();
        for (id, operation, entry) in table.iter() {
            let Some(isa) = isas.iter().copied().find(|isa| isa.id() == id) else { continue };
            let one = |shape, schedule, origin: &str| {
                let spec = KernelSpec { operation, layout: layout::i2a16(), shape, schedule, isa };
                compile(&spec).map_err(|error| BuildError::Compile {
                    origin: origin.to_owned(),
                    error: Box::new(error),
                })
            };
            let generic = one(Shape::Any, entry.schedule, "generic kernel")?;
            let served = generic.k_max;
            kernels.push(generic);
            let mut others: Vec<(Schedule, String)> = Vec::new();
            if self.variants {
                others.extend(
                    entry.variants.iter().map(|one| (*one, "variant of the generic kernel".to_owned())),
                );
            }
            others.extend(entry.expanded.map(|one| (one, "for many calls of the generic kernel".to_owned())));
            others.extend(named(profiles, operation, isa)?);
            let mut made = vec![entry.schedule];
            for (schedule, origin) in others {
                if !made.contains(&schedule) {
                    made.push(schedule);
                    kernels.push(one(Shape::Any, schedule, &origin)?);
                }
            }
            for (&(rows, cols), origin) in &shapes {
                // A shape that the generic kernel cannot serve has its own, or the build says why there is none.
                let unserved = rows == 0 || !(1..=served).contains(&cols);
                if unserved || self.specialise_all || entry.gain.is_worthwhile(cols) {
                    kernels.push(one(Shape::Fixed { rows, cols }, entry.schedule, origin)?);
                }
            }
        }
        Ok(kernels)
    }

    /// Writes `kernels.rs` to the output directory and tells cargo what it depends on.
    ///
    /// # Errors
    /// [`BuildError`] for a wrong config, table, ISA or shape, or a file that cannot be written.
    pub fn generate(&self) -> Result<Generated, BuildError> {
        let mut depends: Vec<PathBuf> = self.schedules.iter().cloned().collect();
        depends.extend(self.configs.iter().cloned());
        depends.extend(config::model_files(&self.configs)?);
        if let Some(folder) = &self.tuned {
            // The folder too: profiles come and go. What is not there counts as changed at every build, so that where it is not,
            // its parent has to tell of it.
            let there = folder.ancestors().find(|folder| folder.is_dir());
            depends.extend(there.map(Path::to_owned));
            depends.extend(profile_files(folder)?);
        }
        for path in &depends {
            println!("cargo:rerun-if-changed={}", path.display());
        }
        let out_dir = match &self.out_dir {
            Some(dir) => dir.clone(),
            None => std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or(BuildError::NoOutDir)?,
        };
        let (table, isas, models) = (self.table()?, self.selected()?, config::load_all(&self.configs)?);
        let profiles = self.profiles()?;
        let kernels = self.kernels(&table, &isas, &models, &profiles)?;
        let names: Vec<String> = kernels.iter().map(|kernel| kernel.name.clone()).collect();
        let hash = emit::fingerprint(names.iter().map(String::as_str).chain([env!("CARGO_PKG_VERSION")]));
        let contents =
            Contents { kernels: &kernels, isas: &isas, table: &table, models: &models, profiles: &profiles };
        let text = emit::source(&contents, "kernelgen::Builder", hash);
        let path = out_dir.join("kernels.rs");
        let io = |error| BuildError::Io { path: path.clone(), error };
        // An unchanged file keeps its time, so that nothing is compiled again for it.
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            std::fs::write(&path, text).map_err(io)?;
        }
        Ok(Generated { path, kernels: names })
    }

    fn profiles(&self) -> Result<Vec<(String, TunedProfile)>, BuildError> {
        Ok(self.tuned.as_deref().map(TunedProfile::load_folder).transpose()?.unwrap_or_default())
    }

    fn table(&self) -> Result<ScheduleTable, BuildError> {
        let (path, table) = match &self.schedules {
            None => (Path::new("built in"), ScheduleTable::built_in()),
            Some(path) => (path.as_path(), ScheduleTable::parse(&read(path)?)),
        };
        table.map_err(|error| BuildError::Table { path: path.to_owned(), error })
    }

    fn selected(&self) -> Result<Vec<&'static dyn Isa>, BuildError> {
        if self.isas.is_empty() {
            return Ok(isa::ALL.to_vec());
        }
        emit::isas_by_id(&self.isas)
            .map_err(|found| BuildError::UnknownIsa { found, known: isa::ids().join(", ") })
    }
}

/// The schedules that profiles name for an operation on an instruction set, each with where it comes from.
fn named(
    profiles: &[(String, TunedProfile)],
    operation: Operation,
    isa: &dyn Isa,
) -> Result<Vec<(Schedule, String)>, BuildError> {
    let mut schedules = Vec::new();
    for (name, profile) in profiles {
        for kernel in &profile.kernels {
            let spec = kernel.spec()?;
            if spec.operation == operation && spec.isa.id() == isa.id() {
                schedules.push((spec.schedule, format!("tuned profile {name}, kernel {}", kernel.name)));
            }
        }
    }
    Ok(schedules)
}

fn read(path: &Path) -> Result<String, BuildError> {
    std::fs::read_to_string(path).map_err(|error| BuildError::Io { path: path.to_owned(), error })
}
