//! What a contest found, and the profile that many make.

use std::collections::BTreeMap;

use kernelgen::tuned::{Class, ProfileError, TunedKernel, TunedProfile};
use serde::{Deserialize, Serialize};

use super::arena::Place;
use crate::kernels::DESCRIPTORS;
use crate::kernels::abi::Kernel;

/// The kernel of a name, where it is linked and this CPU has its instructions: what is not linked cannot be run before the next
/// build.
pub fn kernel_of(name: &str) -> Option<Kernel> {
    DESCRIPTORS.iter().find(|descriptor| descriptor.name == name).and_then(Kernel::new)
}

/// What a contest found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The instruction set's id.
    pub isa: String,
    /// `gemv` or `gemm<tokens>`.
    pub operation: String,
    /// The class of the shapes.
    pub class: Class,
    /// The name of the default kernel.
    pub default: String,
    /// Where it was measured.
    pub places: Vec<Place>,
    /// The kernels that were left at the end, the winner first.
    pub ranked: Vec<Ranked>,
    /// Kernels that are not bit-exact: they were not timed.
    pub refused: Vec<Refused>,
}

/// A kernel and how fast it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// Its name.
    pub name: String,
    /// The geometric mean of `relative`.
    pub score: f64,
    /// Its rate of that of the default kernel, by place.
    pub relative: Vec<f64>,
    /// Its rate of the probed bandwidth or peak, by place.
    pub of_probe: Vec<f64>,
    /// Half the interquartile range of its rate, of the median, at the place where that is the greatest.
    pub noise: f64,
    /// Nanoseconds for 256 weights and all tokens of the operation, from the cache on one thread.
    pub cost: f64,
}

/// A kernel that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its name.
    pub name: String,
    /// The sum that is wrong.
    pub reason: String,
}

impl Outcome {
    /// The kernel of a name.
    pub fn kernel(&self, name: &str) -> Option<&Ranked> {
        self.ranked.iter().find(|kernel| kernel.name == name)
    }

    /// Scales all costs, so that the default kernel's is this; leaves them where it is not among those that were left.
    pub fn set_default_cost(&mut self, cost: f64) {
        if let Some(was) = self.kernel(&self.default).map(|kernel| kernel.cost).filter(|was| *was > 0.0) {
            self.ranked.iter_mut().for_each(|kernel| kernel.cost *= cost / was);
        }
    }

    /// What a profile says of it. Regrets are those of the default kernel, and of the kernels that other machines' profiles
    /// name for the operation, where they were in the contest; `None` where nothing was ranked.
    pub fn tuned(&self, others: &[(String, TunedProfile)]) -> Option<TunedKernel> {
        let (winner, rest) = self.ranked.split_first()?;
        let behind = |kernel: &Ranked| round(winner.score / kernel.score - 1.0);
        let mut regret = BTreeMap::new();
        if let Some(default) = self.kernel(&self.default) {
            regret.insert("default".to_owned(), behind(default));
        }
        for (stem, profile) in others {
            let theirs = profile.kernel(&self.isa, &self.operation, self.class);
            if let Some(kernel) = theirs.and_then(|theirs| self.kernel(&theirs.name)) {
                regret.insert(stem.clone(), behind(kernel));
            }
        }
        let next = rest.iter().max_by(|a, b| a.score.total_cmp(&b.score));
        let mean = winner.of_probe.iter().sum::<f64>() / winner.of_probe.len().max(1) as f64;
        Some(TunedKernel {
            name: winner.name.clone(),
            class: self.class,
            cost: round(winner.cost),
            of_probe: round(mean),
            noise: round(winner.noise),
            runner_up: next.map(|next| schedule(&next.name).to_owned()),
            behind: next.map_or(0.0, behind),
            regret,
        })
    }
}

/// The schedule in a kernel's name.
pub fn schedule(name: &str) -> &str {
    let front = name.rsplit_once("__").map_or(name, |(front, _)| front);
    front.rsplit('_').next().unwrap_or(front)
}

/// Figures of a profile have four decimals: more is noise.
pub fn round(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

/// The profiles that are linked, by the names of their machines.
///
/// # Errors
/// [`ProfileError`] where the build linked what cannot be read.
pub fn linked() -> Result<Vec<(String, TunedProfile)>, ProfileError> {
    let profiles = crate::kernels::TUNED.iter();
    profiles.map(|(name, text)| Ok(((*name).to_owned(), TunedProfile::parse(text)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(name: &str, score: f64) -> Ranked {
        Ranked {
            name: name.to_owned(),
            score,
            relative: vec![score],
            of_probe: vec![0.9],
            noise: 0.01,
            cost: 2.0,
        }
    }

    #[test]
    fn the_profile_says_what_others_would_have_cost() {
        let name = |schedule: &str| format!("gemv_i2a16_anyxany_{schedule}__avx2");
        let all = [("u4c1nr1p0", 1.1), ("u2c1nr1p0", 1.05), ("u1c1nr1p0", 1.0)];
        let outcome = Outcome {
            isa: "avx2".to_owned(),
            operation: "gemv".to_owned(),
            class: Class::Long,
            default: name("u1c1nr1p0"),
            places: vec![Place { rows: 64, cols: 512, threads: 1 }],
            ranked: all.iter().map(|(schedule, score)| ranked(&name(schedule), *score)).collect(),
            refused: Vec::new(),
        };
        let mine = outcome.tuned(&[]).unwrap();
        assert_eq!(mine.cost, 2.0);
        assert_eq!((mine.name.as_str(), mine.runner_up.as_deref()), (&*name("u4c1nr1p0"), Some("u2c1nr1p0")));
        assert_eq!((mine.behind, mine.regret["default"]), (0.0476, 0.1));
        // The profile of a machine on which another was the fastest.
        let text = format!(
            "version = 1\n[cpu]\narch = \"a\"\nvendor = \"v\"\nmodel = \"m\"\nname = \"n\"\nisas = []\n[made]\ndate = \"d\"\n\
             commit = \"c\"\nby = \"b\"\nprobe = 1.0\n[[kernel]]\nname = \"{}\"\nclass = \"long\"\ncost = 1.0\nof_probe = 1.0\nnoise = 0.0\n",
            name("u2c1nr1p0")
        );
        let other = TunedProfile::parse(&text).unwrap();
        let mine = outcome.tuned(&[("other".to_owned(), other)]).unwrap();
        assert_eq!(mine.regret["other"], 0.0476);
        assert_eq!(schedule(&name("u4c2mr1p4096t3")), "u4c2mr1p4096t3");
    }
}
