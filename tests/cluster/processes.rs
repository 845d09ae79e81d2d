//! The processes of the fleet: two that load a run each and write its results, and workers. A process that ends is
//! replaced at once.

use std::time::{Duration, Instant};

use nova3::clock;

use super::harness::{INPUTS, OUTPUTS, Scenario};
use super::process::Running;
use super::proxy::{Network, Proxy};

/// A process that was started, with its name in the database and in the mock.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) who: String,
    /// When it was killed, in Unix milliseconds.
    pub(crate) killed: Option<i64>,
    /// Whether it was ever suspended or cut off.
    pub(crate) held: bool,
}

/// The condition of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// Suspended until then.
    Stopped(Instant),
    /// Cut off until then. At that time its connections are cut too, or the held data arrives late.
    Cut(Instant, bool),
    /// A loader that has finished its work.
    Done,
}

/// A place in the fleet with its present process.
#[derive(Debug)]
struct Post {
    name: String,
    args: Vec<&'static str>,
    proxy: Proxy,
    life: usize,
    running: Running,
    state: State,
}

/// All processes of the fleet.
#[derive(Debug)]
pub(crate) struct Processes<'a> {
    scenario: &'a Scenario,
    posts: Vec<Post>,
    pub(crate) lives: Vec<Life>,
    /// Unexpected exits.
    pub(crate) faults: Vec<String>,
    /// The order in which the next blows hit the places, so that each gets its share.
    next: Vec<usize>,
}

/// The exit codes of a finished loader: no request failed, or some did, as expected.
const FINISHED: [i32; 2] = [0, 100];
/// The exit code of a process that was asked to end.
const TERMINATED: i32 = 143;

impl<'a> Processes<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            posts: Vec::new(),
            lives: Vec::new(),
            faults: Vec::new(),
            next: Vec::new(),
        }
    }

    pub(crate) fn add_worker(&mut self, number: usize) {
        self.add(format!("worker{number}"), vec!["worker", "--progress", "plain"]);
    }

    pub(crate) fn add_loader(&mut self, run: usize) {
        let args = vec!["run", INPUTS[run], "-o", OUTPUTS[run], "--progress", "plain"];
        self.add(format!("loader{run}"), args);
    }

    fn add(&mut self, name: String, args: Vec<&'static str>) {
        let proxy = Proxy::to(self.scenario.server.port());
        let (life, running) = begin(self.scenario, &mut self.lives, &name, &args, &proxy);
        self.posts.push(Post {
            name,
            args,
            proxy,
            life,
            running,
            state: State::Well,
        });
    }

    /// Continues processes whose suspension is over, and notes unexpected exits. Returns whether the loaders have
    /// finished.
    pub(crate) fn tend(&mut self) -> bool {
        let now = Instant::now();
        for post in &mut self.posts {
            match post.state {
                State::Stopped(until) if until <= now => {
                    post.running.go_on();
                    post.state = State::Well;
                }
                State::Cut(until, resets) if until <= now => {
                    if resets {
                        post.proxy.reset_all();
                    }
                    post.proxy.set(Network::Alive);
                    post.state = State::Well;
                }
                _ => {}
            }
            if post.state == State::Done {
                continue;
            }
            if let Some(status) = post.running.poll() {
                let loads = post.args[0] == "run";
                if loads && status.code().is_some_and(|code| FINISHED.contains(&code)) {
                    post.state = State::Done;
                    continue;
                }
                let who = &self.lives[post.life].who;
                let said = post.running.said();
                self.faults
                    .push(format!("{who} ended by itself with {status}: {said}"));
                (post.life, post.running) = begin(
                    self.scenario,
                    &mut self.lives,
                    &post.name,
                    &post.args,
                    &post.proxy,
                );
            }
        }
        self.posts
            .iter()
            .all(|post| post.args[0] != "run" || post.state == State::Done)
    }

    /// Returns the next process in good condition, by turns in a changing order.
    fn pick(&mut self, rng: &mut fastrand::Rng) -> Option<usize> {
        for _ in 0..2 * self.posts.len() {
            if self.next.is_empty() {
                self.next = (0..self.posts.len()).collect();
                rng.shuffle(&mut self.next);
            }
            let post = self.next.pop()?;
            if self.posts[post].state == State::Well {
                return Some(post);
            }
        }
        None
    }

    /// Kills a process with `kill -9` and starts another in its place.
    pub(crate) fn kill(&mut self, rng: &mut fastrand::Rng) -> bool {
        // The process that writes a file has more to lose.
        let loader = self
            .posts
            .iter()
            .position(|post| post.args[0] == "run" && post.state == State::Well);
        let killed = self.lives.iter().filter(|life| life.killed.is_some()).count();
        let place = loader.filter(|_| killed % 4 == 1).or_else(|| self.pick(rng));
        let Some(place) = place else { return false };
        let post = &mut self.posts[place];
        if post.running.poll().is_some() {
            // It has just ended by itself, which the next check notes.
            return false;
        }
        post.running.kill();
        self.lives[post.life].killed = Some(clock::now_ms());
        (post.life, post.running) = begin(
            self.scenario,
            &mut self.lives,
            &post.name,
            &post.args,
            &post.proxy,
        );
        true
    }

    /// Suspends a process with SIGSTOP for that time.
    pub(crate) fn stop(&mut self, rng: &mut fastrand::Rng, time: Duration) -> bool {
        let Some(place) = self.pick(rng) else { return false };
        let post = &mut self.posts[place];
        post.running.stop();
        post.state = State::Stopped(Instant::now() + time);
        self.lives[post.life].held = true;
        true
    }

    /// Cuts a process off from the database for that time.
    pub(crate) fn cut(
        &mut self,
        rng: &mut fastrand::Rng,
        time: Duration,
        network: Network,
        resets: bool,
    ) -> bool {
        let Some(place) = self.pick(rng) else { return false };
        let post = &mut self.posts[place];
        post.proxy.set(network);
        post.state = State::Cut(Instant::now() + time, resets);
        self.lives[post.life].held = true;
        true
    }

    /// Ends the workers properly, once all of them are in good condition again.
    pub(crate) fn dismiss(&mut self) {
        while self
            .posts
            .iter()
            .any(|post| matches!(post.state, State::Stopped(_) | State::Cut(..)))
        {
            self.tend();
            std::thread::sleep(Duration::from_millis(10));
        }
        let workers = || self.posts.iter().filter(|post| post.args[0] == "worker");
        workers().for_each(|post| post.running.terminate());
        for post in &mut self.posts {
            let status = post.running.child.wait().expect("a child can be waited for");
            if post.args[0] == "worker" && status.code() != Some(TERMINATED) {
                let said = post.running.said();
                self.faults.push(format!(
                    "{} was asked to end and did with {status}: {said}",
                    post.name
                ));
            }
        }
    }
}

fn begin(
    scenario: &Scenario,
    lives: &mut Vec<Life>,
    name: &str,
    args: &[&str],
    proxy: &Proxy,
) -> (usize, Running) {
    let who = format!("{name}-{}", lives.len());
    let running = scenario.start(&who, &proxy.url(scenario.server.url()), args);
    lives.push(Life {
        who,
        killed: None,
        held: false,
    });
    (lives.len() - 1, running)
}
