//! The processes of the fleet: two that load a run each and write its results, and workers. A place whose process ends is
//! filled again at once.

use std::time::{Duration, Instant};

use nova3::clock;

use super::harness::{INPUTS, OUTPUTS, Scenario};
use super::process::Running;
use super::proxy::{Network, Proxy};

/// A process that was started, by the name under which the database and the mock know it.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) who: String,
    /// When it was killed, in Unix milliseconds.
    pub(crate) killed: Option<i64>,
    /// Whether it stood still or was cut off at a time.
    pub(crate) held: bool,
}

/// How a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// Stands still until then.
    Stopped(Instant),
    /// Is cut off until then; then its connections are cut too, or what was held comes late.
    Cut(Instant, bool),
    /// A loader that has done its work.
    Done,
}

/// A place in the fleet and its present process.
#[derive(Debug)]
struct Post {
    name: String,
    args: Vec<&'static str>,
    proxy: Proxy,
    life: usize,
    running: Running,
    state: State,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Processes<'a> {
    scenario: &'a Scenario,
    posts: Vec<Post>,
    pub(crate) lives: Vec<Life>,
    /// Ends that nobody asked for.
    pub(crate) faults: Vec<String>,
    /// Places in the order in which they are struck next, so that each has its share.
    next: Vec<usize>,
}

/// How a loader ends: nothing failed, or some requests did, as they should.
const FINISHED: [i32; 2] = [0, 100];
/// How a process ends that was asked to.
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

    /// Looks after all of them: what stood still long enough goes on, and an end that nobody asked for is noted.
    /// Answers whether the loaders have done their work.
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

    /// The next one that is well, by turns in an order that changes.
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

    /// `kill -9`, and another process in its place.
    pub(crate) fn kill(&mut self, rng: &mut fastrand::Rng) -> bool {
        // Whoever writes a file has more to lose.
        let loader = self
            .posts
            .iter()
            .position(|post| post.args[0] == "run" && post.state == State::Well);
        let killed = self.lives.iter().filter(|life| life.killed.is_some()).count();
        let place = loader.filter(|_| killed % 4 == 1).or_else(|| self.pick(rng));
        let Some(place) = place else { return false };
        let post = &mut self.posts[place];
        if post.running.poll().is_some() {
            // It has just ended by itself, which is noted at the next look.
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

    /// SIGSTOP for so long.
    pub(crate) fn stop(&mut self, rng: &mut fastrand::Rng, time: Duration) -> bool {
        let Some(place) = self.pick(rng) else { return false };
        let post = &mut self.posts[place];
        post.running.stop();
        post.state = State::Stopped(Instant::now() + time);
        self.lives[post.life].held = true;
        true
    }

    /// No way to the database for so long.
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

    /// Ends the workers in good order, once all of them are well again.
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
