use super::*;
use crate::bench::kernels::KernelTest;
use crate::bench::planted;
use crate::format::LoadOptions;

fn quick(kernels: &[Kernel]) -> Survey {
    let engines = [Engine::with_threads(1).unwrap(), Engine::with_threads(2).unwrap()];
    let model = Model::from_raw(crate::demo::load(&LoadOptions::default()).unwrap(), &engines[0]).unwrap();
    let mut options = SurveyOptions::default().quick();
    options.speed.prompts = vec![2, 5];
    options.speed.sequences = vec![1, 3];
    options.speed.decode = 2;
    let mut last = Progress { done: 0, total: 0 };
    let survey = survey(&model, &engines, kernels, &options, &mut |progress| last = progress).unwrap();
    assert!(last.done == last.total && last.total > 0, "{last:?}");
    survey
}

#[test]
fn every_form_says_what_was_found_and_what_was_refused() {
    let mut survey = quick(&[planted::sound(), planted::broken()]);
    survey.speed.model.name = "<b>*a|b*</b>".to_owned();
    survey.kernels.tests[0].of_roof = 1.03;
    survey.kernels.find_probe_faults();
    let (html, markdown) = (survey.html(), survey.markdown());
    for text in [&html, &markdown] {
        for part in ["the exact product is", "Fault of the probe", "1.03", "Not measured", "Roofline"] {
            assert!(text.contains(part) || (part == "Roofline" && *text == markdown), "no {part} in {text}");
        }
    }
    // Names come from files.
    assert!(!html.contains("<b>") && html.contains("&lt;b&gt;*a|b*&lt;/b&gt; on "));
    assert!(markdown.contains("\\<b\\>\\*a\\|b\\*\\</b\\>"), "{markdown}");
    // One file: no script, nothing from elsewhere.
    for outside in ["<script", "http:", "https:", "src=", "url(", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let object = serde_json::to_value(&survey).unwrap();
    assert_eq!(object["version"], VERSION);
    assert_eq!(serde_json::from_value::<Survey>(object).unwrap(), survey);
}

#[test]
fn every_plot_counts_its_points() {
    let mut survey = quick(&[planted::sound()]);
    let rate = |median| Some(PeerRate { median, min: median / 2.0, max: median * 2.0 });
    let run = |engine: &str, decode, error: Option<&str>| PeerRun {
        model: "a & b".to_owned(),
        threads: 2,
        engine: engine.to_owned(),
        weight_type: Some("I2_S".to_owned()),
        bits_per_weight: Some(2.0),
        prefill: None,
        decode,
        error: error.map(str::to_owned),
    };
    let runs = vec![
        run("tritforge", rate(30.0), None),
        run("other", rate(20.0), None),
        run("third", None, Some("no such file")),
    ];
    survey.peers = Some(Peers { version: 1, cpu: "x".into(), runs });
    let html = survey.html();
    let counts: Vec<&str> =
        html.split("data-points=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    // Two rooflines of one kernel; decoding and a prompt against two numbers of threads; two prompts and two batches on each; six
    // precisions; two programs that ran.
    assert_eq!(counts, ["1", "1", "2", "2", "4", "4", "6", "2"]);
    assert!(html.contains("third, I2_S on a &amp; b was not measured: no such file"));
    assert!(survey.markdown().contains("other, I2\\_S"));
}

/// The twins are made up: whether kernels of fixed shape are linked is for the CPU to say.
#[test]
fn gains_of_kernels_made_for_a_shape_and_costs_of_precisions_are_listed() {
    let mut survey = quick(&[planted::sound()]);
    assert!(survey.markdown().contains("None that runs on this CPU"));
    let generic = survey.kernels.tests[0].clone();
    let mut fixed = KernelTest { kernel: "a_fixed_kernel".to_owned(), is_fixed: true, ..generic.clone() };
    fixed.of_roof = 1.25 * generic.of_roof;
    survey.kernels.tests.push(fixed);
    survey.precisions.tests[1].logit_difference = 0.4321;
    survey.precisions.not_made.push("a reason".to_owned());
    for text in [survey.html().replace("<wbr>", ""), survey.markdown().replace('\\', "")] {
        for part in
            ["a_fixed_kernel", "+25.0%", "fast, q4_0, f16", "exact, f16, f32", "0.432", "Not made: a reason"]
        {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}

#[test]
fn threads_double_up_to_the_most() {
    assert_eq!(
        [1, 2, 3, 6, 8].map(thread_counts),
        [vec![1], vec![1, 2], vec![1, 2, 3], vec![1, 2, 4, 6], vec![1, 2, 4, 8]]
    );
}
