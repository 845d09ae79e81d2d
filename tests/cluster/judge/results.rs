//! The results of the runs: every request once, in the store and in its file.

use std::collections::BTreeMap;

use super::Scene;
use crate::cluster::harness::OUTPUTS;
use crate::cluster::verdict::Verdicts;
use crate::cluster::work::{self, Kind};

/// The store says that every request and every process ended as expected.
pub(super) fn unfinished(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let mut faults: Vec<String> = scene.stuck.map(str::to_owned).into_iter().collect();
    faults.extend_from_slice(scene.faults);
    for (run, status) in scene.status.iter().enumerate() {
        let number = |key: &str| status[key].as_u64().unwrap_or(u64::MAX);
        let (total, failed) = (scene.work.run(run).len() as u64, scene.work.failing(run) as u64);
        for (key, expected) in [
            ("total", total),
            ("done", total - failed),
            ("failed", failed),
            ("left", 0),
        ] {
            if number(key) != expected {
                let found = number(key);
                faults.push(format!(
                    "`status` of run {run} says {key} is {found}, expected {expected}"
                ));
            }
        }
    }
    let mut finished = 0;
    for stand in &scene.testimony.stands {
        let kind = work::request(&stand.custom_id).map(|request| scene.work.kind(request));
        let good = match kind {
            Some(Kind::TooLong) => stand.state == "failed" && stand.error_class == "context_length",
            Some(_) => stand.state == "done",
            None => false,
        };
        finished += usize::from(good);
        if !good {
            let (state, class) = (&stand.state, &stand.error_class);
            faults.push(format!("{} is {state} {class}", stand.custom_id));
        }
    }
    let seen = format!(
        "{} of {}",
        scene.work.requests() - finished,
        scene.work.requests()
    );
    verdicts.add("unfinished", seen, faults);
}

/// The lines of a file are the finished requests in the order of their numbers, so a reader that continues from a
/// number misses none. The numbers have no gap.
pub(super) fn lost(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let (mut seen, mut faults) = (0, Vec::new());
    for (run, lines) in scene.lines.iter().enumerate() {
        let finished = scene
            .testimony
            .stands
            .iter()
            .filter(|stand| stand.run == run && stand.finish_no.is_some());
        let mut ids: Vec<&str> = Vec::new();
        for (number, stand) in (1..).zip(finished) {
            if stand.finish_no != Some(number) {
                let found = stand.finish_no;
                faults.push(format!(
                    "{} of run {run} has the number {found:?} where {number} is due",
                    stand.custom_id
                ));
            }
            ids.push(&stand.custom_id);
        }
        let mut written: BTreeMap<&str, usize> = BTreeMap::new();
        for line in lines {
            *written
                .entry(line["custom_id"].as_str().unwrap_or_default())
                .or_default() += 1;
        }
        let missing: Vec<&&str> = ids.iter().filter(|id| !written.contains_key(**id)).collect();
        seen += missing.len();
        faults.extend(
            missing
                .iter()
                .map(|id| format!("{id} has no line in {}", OUTPUTS[run])),
        );
        let order: Vec<&str> = lines
            .iter()
            .filter_map(|line| line["custom_id"].as_str())
            .collect();
        if missing.is_empty() && order.len() == ids.len() && order != ids {
            faults.push(format!(
                "the lines of {} are not in the order of their numbers",
                OUTPUTS[run]
            ));
        }
        let asked = scene.work.run(run).len();
        if ids.len() != asked {
            faults.push(format!(
                "{} of {asked} requests of run {run} have a number",
                ids.len()
            ));
        }
    }
    verdicts.add("lost", format!("{seen} of {}", scene.work.requests()), faults);
}

/// No request has two lines, and `verify` agrees.
pub(super) fn written_twice(scene: &Scene<'_>, verdicts: &mut Verdicts) {
    let (mut lines, mut faults) = (0, Vec::new());
    for (run, written) in scene.lines.iter().enumerate() {
        lines += written.len();
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for line in written {
            *times
                .entry(line["custom_id"].as_str().unwrap_or("nobody"))
                .or_default() += 1;
        }
        for (id, times) in times.iter().filter(|(_, times)| **times > 1) {
            faults.push(format!("{id} has {times} lines in {}", OUTPUTS[run]));
        }
        let verified = &scene.verified[run];
        if verified.code != Some(0) {
            faults.push(format!(
                "`verify`: {}{}",
                verified.text().trim(),
                verified.stderr.trim()
            ));
        }
    }
    verdicts.add(
        "written twice",
        format!("{} of {lines} lines", faults.len()),
        faults,
    );
}
