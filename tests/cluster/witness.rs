//! The record of every change of a queue. A trigger of the test writes it in the database; it is only appended to, and
//! the program does not write it. Also the final content of the program's own tables.

use super::postgres::psql;

/// The triggers and their table. A change that is rolled back leaves no record. Changes of one queue and of its tasks
/// are recorded in the order in which they happened, because the queue's row is locked. The same holds for changes of
/// two queues, if one had to be committed before the other.
const TRIGGER: &str = "
CREATE TABLE cluster_changes(
  place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at_ms bigint NOT NULL, who text NOT NULL,
  run_id bigint NOT NULL, queue_id bigint NOT NULL, of_task boolean NOT NULL, was_state text, state text NOT NULL,
  was_fence bigint, fence bigint, was_until bigint, until bigint);
CREATE FUNCTION cluster_note_queue() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO cluster_changes(at_ms, who, run_id, queue_id, of_task, was_state, state)
  VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint, current_setting('application_name'), NEW.run_id,
    NEW.queue_id, false, OLD.state, NEW.state);
  RETURN NULL;
END $$;
CREATE FUNCTION cluster_note_task() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO cluster_changes(at_ms, who, run_id, queue_id, of_task, was_state, state, was_fence, fence, was_until, until)
  VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint, current_setting('application_name'), NEW.run_id,
    NEW.queue_id, true,
    -- The settlement that adds a search hands its lease on to it in the same statement.
    CASE WHEN NEW.kind = 'search' AND OLD.status = 'ready' AND OLD.fence IS NULL THEN 'pending' ELSE OLD.status END, NEW.status, OLD.fence, NEW.fence, OLD.lease_until, NEW.lease_until);
  RETURN NULL;
END $$;
CREATE TRIGGER cluster_note AFTER INSERT OR UPDATE ON nova3_queues FOR EACH ROW EXECUTE FUNCTION cluster_note_queue();
CREATE TRIGGER cluster_note AFTER INSERT OR UPDATE ON nova3_tasks FOR EACH ROW EXECUTE FUNCTION cluster_note_task();
";

/// A queue of the store. Its number contains the number of its run.
pub(crate) type Queue = i64;

/// A change of a queue, or of one of its tasks.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) at_ms: i64,
    /// The process that made it.
    pub(crate) who: String,
    pub(crate) queue: Queue,
    pub(crate) of_task: bool,
    /// The state before and after. An insertion has none before.
    pub(crate) was_state: String,
    pub(crate) state: String,
    pub(crate) was_fence: i64,
    pub(crate) fence: i64,
    pub(crate) was_until: Option<i64>,
    pub(crate) until: Option<i64>,
}

impl Change {
    /// Whether a claim leased the task, under a fence of its own. A settlement hands a lease on to a task that is not
    /// ready.
    pub(crate) fn is_claim(&self) -> bool {
        self.of_task && self.was_state == "ready" && self.state == "leased"
    }

    /// Whether the task was leased, by a claim or with the lease of the task before it.
    pub(crate) fn begins_lease(&self) -> bool {
        self.of_task && self.was_state != "leased" && self.state == "leased"
    }

    /// Whether the lease ended before the task was settled.
    pub(crate) fn is_loss(&self) -> bool {
        self.of_task && self.was_state == "leased" && self.state == "ready"
    }

    /// Whether a task or a plan was settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.of_task && self.was_state == "leased" && matches!(self.state.as_str(), "completed" | "failed")
    }

    /// Whether the lease was extended.
    pub(crate) fn is_renewal(&self) -> bool {
        self.of_task && self.was_state == "leased" && self.state == "leased" && self.until != self.was_until
    }

    /// Whether the lease ended in any way.
    pub(crate) fn ends_lease(&self) -> bool {
        self.of_task && self.was_state == "leased" && self.state != "leased"
    }
}

/// A settled task, or a plan (number -1), as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) queue: Queue,
    pub(crate) task: i64,
    /// The fence under which it is stored.
    pub(crate) fence: i64,
    /// The fence under which its process settled it, and the beginning and the duration of its call.
    pub(crate) called: Option<(i64, i64, i64)>,
    /// The beginning of the prompt's digest, which the answer quotes.
    pub(crate) digest: String,
}

/// A call that the store's ledger holds.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) queue: Queue,
    pub(crate) fence: i64,
    /// Its error class.
    pub(crate) class: String,
}

/// A queue at the end of the run.
#[derive(Debug, Clone)]
pub(crate) struct Stand {
    pub(crate) queue: Queue,
    pub(crate) custom_id: String,
    pub(crate) run: usize,
    pub(crate) state: String,
    pub(crate) finish_no: Option<i64>,
    pub(crate) error_class: String,
}

/// All evidence from the database.
#[derive(Debug)]
pub(crate) struct Testimony {
    pub(crate) changes: Vec<Change>,
    pub(crate) settled: Vec<Settled>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) stands: Vec<Stand>,
}

/// Installs the triggers. The tables must exist, and no process should be at work yet.
pub(crate) fn begin(url: &str) {
    psql(url, TRIGGER);
}

/// Whether the tables exist.
pub(crate) fn has_tables(url: &str) -> bool {
    psql(url, "SELECT to_regclass('nova3_workers') IS NOT NULL") == "t"
}

/// Returns how many requests are done.
pub(crate) fn finished(url: &str) -> usize {
    let done = psql(url, "SELECT count(*) FROM nova3_queues WHERE state = 'done'");
    done.parse().expect("a number")
}

/// Reads all evidence, once no process is at work. `inputs` are the names of the runs.
pub(crate) fn hear(url: &str, inputs: [&str; 2]) -> Testimony {
    let rows = |sql: &str| -> Vec<Vec<String>> {
        let said = psql(url, sql);
        let rows = said.lines().filter(|line| !line.is_empty());
        rows.map(|line| line.split('|').map(str::to_owned).collect())
            .collect()
    };
    let changes = rows(
        "SELECT at_ms, who, queue_id, of_task, coalesce(was_state, ''), state, coalesce(was_fence, 0), coalesce(fence, 0),
           was_until, until FROM cluster_changes ORDER BY place",
    );
    let tasks = rows(
        "SELECT t.queue_id, t.task_index, t.fence, a.fence, a.started_at, a.duration_ms,
           coalesce(substring(t.result from '\\[mock ([0-9a-f]{8})\\]'), '')
         FROM nova3_tasks t LEFT JOIN nova3_attempts a ON a.run_id = t.run_id AND a.queue_id = t.queue_id
           AND a.task_index = t.task_index AND a.ticket = t.ticket AND a.used
         WHERE t.status = 'completed' AND t.task_index >= 0 AND t.kind <> 'search' ORDER BY t.queue_id, t.task_index",
    );
    let plans = rows(
        "SELECT p.queue_id, -1, p.fence, a.fence, a.started_at, a.duration_ms,
           coalesce(substring(t.input from '\\[mock ([0-9a-f]{8})\\]'),
             substring(t.description from '\\[mock ([0-9a-f]{8})\\]'), '')
         FROM nova3_plans p JOIN nova3_tasks t ON t.run_id = p.run_id AND t.queue_id = p.queue_id AND t.task_index = 0
           LEFT JOIN nova3_attempts a ON a.run_id = p.run_id AND a.queue_id = p.queue_id AND a.task_index = -1
           AND a.ticket = p.ticket AND a.used
         WHERE p.origin = 'model' ORDER BY p.queue_id",
    );
    let attempts =
        rows("SELECT queue_id, fence, coalesce(error_class, '') FROM nova3_attempts WHERE attempt_no > 0");
    let stands = rows(&format!(
        "SELECT q.queue_id, q.custom_id, (r.name = '{}')::int, q.state, q.finish_no, coalesce(q.error_class, '')
         FROM nova3_queues q JOIN nova3_runs r ON r.run_id = q.run_id ORDER BY q.run_id, q.finish_no NULLS LAST, q.queue_id",
        inputs[1]
    ));
    Testimony {
        changes: changes.iter().map(|row| change(row)).collect(),
        settled: tasks.iter().chain(&plans).map(|row| settled(row)).collect(),
        attempts: attempts
            .iter()
            .map(|row| Attempt {
                queue: number(&row[0]),
                fence: number(&row[1]),
                class: row[2].clone(),
            })
            .collect(),
        stands: stands
            .iter()
            .map(|row| Stand {
                queue: number(&row[0]),
                custom_id: row[1].clone(),
                run: usize::from(row[2] == "1"),
                state: row[3].clone(),
                finish_no: row[4].parse().ok(),
                error_class: row[5].clone(),
            })
            .collect(),
    }
}

fn number(text: &str) -> i64 {
    text.parse().expect("a number")
}

fn change(row: &[String]) -> Change {
    Change {
        at_ms: number(&row[0]),
        who: row[1].clone(),
        queue: number(&row[2]),
        of_task: row[3] == "t",
        was_state: row[4].clone(),
        state: row[5].clone(),
        was_fence: number(&row[6]),
        fence: number(&row[7]),
        was_until: row[8].parse().ok(),
        until: row[9].parse().ok(),
    }
}

fn settled(row: &[String]) -> Settled {
    let called = (!row[3].is_empty()).then(|| (number(&row[3]), number(&row[4]), number(&row[5])));
    Settled {
        queue: number(&row[0]),
        task: number(&row[1]),
        fence: number(&row[2]),
        called,
        digest: row[6].clone(),
    }
}
