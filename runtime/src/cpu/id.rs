//! Which CPU it is.

use kernelgen::tuned::CpuId;

/// What tells this CPU from others: maker and model, and the instruction sets that there are kernels for. What cannot be
/// found out is `unknown`.
pub fn identify() -> CpuId {
    let Words { vendor, model, name } = words();
    CpuId {
        arch: std::env::consts::ARCH.to_owned(),
        vendor,
        model,
        name,
        isas: super::available().iter().map(|isa| isa.id.to_owned()).collect(),
    }
}

/// What the CPU says of itself.
struct Words {
    vendor: String,
    model: String,
    name: String,
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(target_arch = "x86_64")]
fn words() -> Words {
    let cpuid = raw_cpuid::CpuId::new();
    let model = |f: &raw_cpuid::FeatureInfo| format!("family {} model {}", f.family_id(), f.model_id());
    let brand = cpuid.get_processor_brand_string();
    Words {
        vendor: cpuid.get_vendor_info().map_or_else(unknown, |info| info.as_str().to_owned()),
        model: cpuid.get_feature_info().as_ref().map_or_else(unknown, model),
        name: brand.map_or_else(unknown, |brand| brand.as_str().trim().to_owned()),
    }
}

/// From what Linux tells of the first processor; on other systems nothing is known.
#[cfg(not(target_arch = "x86_64"))]
fn words() -> Words {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    let (vendor, part) = (field("CPU implementer"), field("CPU part"));
    let variant = field("CPU variant").map_or_else(String::new, |variant| format!(" variant {variant}"));
    Words {
        vendor: vendor.map_or_else(unknown, |vendor| format!("implementer {vendor}")),
        model: part.map_or_else(unknown, |part| format!("part {part}{variant}")),
        name: field("model name").unwrap_or_else(unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_itself() {
        let cpu = identify();
        assert_eq!(cpu.kinship(&identify()), kernelgen::tuned::Kinship::Same);
        assert_eq!(cpu.isas[0], "portable");
        // The kernel of the system knows the same.
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            let text = std::fs::read_to_string("/proc/cpuinfo").unwrap();
            let field = |name: &str| {
                let mut lines = text.lines().filter(|line| line.split(':').next().unwrap().trim() == name);
                lines.next().and_then(|line| line.split(':').nth(1)).unwrap().trim().to_owned()
            };
            assert_eq!(cpu.vendor, field("vendor_id"));
            assert_eq!(cpu.model, format!("family {} model {}", field("cpu family"), field("model")));
        }
    }
}
