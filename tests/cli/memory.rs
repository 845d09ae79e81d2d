//! Memory: a run stays below its limit, whatever providers answer.

use nova3::mock::MockConfig;

use crate::bench::{Running, setup_with, until};

const LIMIT_KIB: u64 = 128 << 10;

/// The most that the process has had resident so far, in KiB.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[test]
fn answers_of_a_megabyte_fit_into_128_of_them() {
    let (bench, provider) = setup_with(MockConfig {
        answer_tokens: 220_000,
        ..MockConfig::default()
    });
    let line = |n: usize| {
        let body =
            serde_json::json!({"model": "m", "messages": [{"role": "user", "content": format!("q{n}")}]});
        let line = serde_json::json!({
            "custom_id": format!("q{n}"), "method": "POST", "url": "/v1/chat/completions", "body": body,
        });
        format!("{line}\n")
    };
    bench.write("in.jsonl", (0..80).map(line).collect::<String>());
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "-j",
        "50",
        "--memory-limit",
        "128MB",
    ];
    let mut run = Running::start(bench.command(&args));
    let pid = run.child().id();
    let mut most = 0;
    until("the run is over", || {
        most = most.max(peak(pid).unwrap_or(0));
        run.child().try_wait().unwrap().is_some()
    });
    let ran = bench.ran(&run.output());
    assert_eq!((ran.code, provider.calls()), (Some(0), 80), "{}", ran.err);
    let written = std::fs::metadata(bench.path("out.jsonl")).unwrap().len();
    assert!(written > 80 << 20, "answers of a megabyte: {written} bytes");
    assert!((1..LIMIT_KIB).contains(&most), "{most} KiB");
    assert_eq!(bench.nova3(&["verify"]).code, Some(0));
}
