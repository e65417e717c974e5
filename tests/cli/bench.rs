//! `tritforge bench`. How fast it finds the machine to be is not for a test to say.

use tritforge::bench::{Kind, Report};
use tritforge::cpu::{ISA_VARIABLE, available};

use crate::command::{command, finish, fixture, takes, tritforge};

/// Little of everything.
const SMALL: [&str; 9] = ["bench", "-p", "6", "-n", "3", "-r", "1", "--probe-mib", "64"];

fn small(more: &[&str]) -> Vec<String> {
    SMALL.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
}

#[test]
fn one_object_on_every_instruction_set() {
    for isa in available() {
        let run = finish(command(small(&["-t", "1,2", "-d", "4", "--json"])).env(ISA_VARIABLE, isa.id));
        let object: serde_json::Value = serde_json::from_str(&run.success()).expect("one JSON object");
        // What is documented, field by field: the reader of another program depends on it.
        let precision = &object["model"]["precision"];
        assert_eq!(
            (&precision["profile"], &precision["head"], &precision["kv"]),
            (&"fast".into(), &"i8row".into(), &"f16".into())
        );
        assert_eq!((&object["version"], &object["isa"]), (&1.into(), &isa.id.into()));
        let decode = &object["tests"][1];
        assert_eq!(
            (&decode["kind"], &decode["threads"], &decode["depth"]),
            (&"decode".into(), &1.into(), &4.into())
        );
        assert_eq!(decode["breakdown"], serde_json::Value::Null);
        let number =
            |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
        // Eight layers of 256x256 twice, 128x256 twice and 768x256 three times, four weights a byte; 4,096 rows of 256 in 8 bits and a
        // scale of four bytes;
        // eight layers with keys and values of 128 f16 each, at 4 + (3 + 1) / 2 positions.
        let macs = 8 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 768 * 256);
        assert_eq!(object["model"]["ternary_macs"], macs);
        assert_eq!(number(&decode["read"]["ternary"]), f64::from(macs) / 4.0);
        assert_eq!(number(&decode["read"]["head"]), 4096.0 * (256.0 + 4.0));
        assert_eq!(number(&decode["read"]["kv"]), 6.0 * 8.0 * 2.0 * 128.0 * 2.0);
        for field in ["worst", "median", "best"] {
            assert!(number(&decode["tokens_per_second"][field]) > 0.0);
            assert!(number(&object["probes"][1]["bandwidth"][field]) > 0.0);
        }
        let report: Report = serde_json::from_value(object).expect("the documented object");
        let tests: Vec<(usize, Kind)> = report.tests.iter().map(|test| (test.threads, test.kind)).collect();
        assert_eq!(tests, [(1, Kind::Prefill), (1, Kind::Decode), (2, Kind::Prefill), (2, Kind::Decode)]);
        assert!(report.tests.iter().all(|test| test.kernels.iter().all(|name| takes(isa.id, name))));
    }
}

#[test]
fn a_table_for_people() {
    let model = fixture("demo/packed");
    let mut arguments = small(&["--batch", "1,2", "--profile", "-t", "1"]);
    arguments.insert(1, model);
    let table = tritforge(arguments).success();
    for part in [
        "1 thread reads",
        "prefill 6",
        "decode 3, 2 together",
        "tokens/s",
        "gemv_i2a16_",
        "attention",
        "of probe",
    ] {
        assert!(table.contains(part), "no {part} in {table}");
    }
}

#[test]
fn numbers_out_of_range_are_errors() {
    for refused in [
        &["bench", "-t", "0"][..],
        &["bench", "-t", "1,0"],
        &["bench", "-t", ""],
        &["bench", "-t", "1;2"],
        &["bench", "-t", "100000"],
        &["bench", "-p", "0"],
        &["bench", "-n", "0"],
        &["bench", "-n", "-1"],
        &["bench", "-d", "x"],
        &["bench", "-r", "0"],
        &["bench", "--batch", "0"],
        &["bench", "--probe-mib", "1"],
        &["bench", "-p", "16,0"],
    ] {
        tritforge(refused).refused();
    }
    for (long, named) in [
        (["-p", "1025"], "the prompt takes 1025 positions"),
        (["-d", "1022"], "decoding takes 1025 positions"),
        (["-d", "4294967295"], "decoding takes 4294967298"),
    ] {
        let error =
            tritforge(small(&[]).into_iter().filter(|a| a != "-p" && a != "6").chain(long.map(String::from)))
                .error();
        assert!(error.contains(named) && error.contains("context has 1024"), "{error}");
    }
    assert!(tritforge(["bench", "no-such-model.gguf"]).error().contains("no-such-model.gguf"));
}
