//! A hostile service file, rendered with some environment and parsed; each finding must point into the file.

#![no_main]

use dagpkg::finding::{Report, Source};
use dagpkg::runtime::load;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|text: &str| {
    let env = [("A", "é\n- x"), ("B", "<=>"), ("C", "true"), ("TASKCFG_ALL_D", "d"), ("TASKCFG_P_E", "")];
    let env: BTreeMap<String, String> = env.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let template = |name: &str| if name == "gone" { Err("gone".to_owned()) } else { Ok(name.to_owned()) };
    let found = match load::from_source(&Source::new("svc.yml", text), &env, &template) {
        Ok(loaded) => loaded.findings,
        Err(Report(found)) => found,
    };
    for finding in found {
        assert_eq!(&*finding.source.text, text);
        let span = finding.span.clone().expect("a place");
        assert!(text.get(span).is_some(), "{finding:?}");
        let _ = finding.render(false);
    }
});
