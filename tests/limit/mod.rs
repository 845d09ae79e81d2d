//! The laws of a limiter on every engine, and those of a limit that a fleet shares.
//!
//! Minutes are simulated: in one process by a paused clock that jumps to the next timer, in PostgreSQL by passing the
//! time to the granting function. A test that needs real time waits for a fraction of a second, and asserts no speed.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of a test fail the way a test does"
)]

mod arithmetic;
mod fleet;
mod harness;
mod memory;
mod pacing;
mod pausing;
mod restarts;
mod settling;

use crate::support::postgres as server;

use harness::Harness;

/// Makes one test for each law on each engine.
macro_rules! suite {
    ($engine:ident: $($module:ident { $($law:ident)* })*) => {
        mod $engine {
            $(mod $module {
                $(#[test]
                fn $law() {
                    crate::limit::Harness::$engine().run(crate::limit::$module::$law);
                })*
            })*
        }
    };
}

macro_rules! engines {
    ($($engine:ident)*) => {
        $(suite! { $engine:
            pacing {
                no_minute_holds_more_than_the_limit
                nearly_all_of_the_limit_is_used
                begins_empty
                first_come_first_served
                without_limits_nobody_waits
                a_call_above_the_limit_is_refused
                a_learned_limit_slows_down_and_a_higher_one_does_not
                a_learned_limit_refuses_no_call
                a_model_has_learned_limits_of_its_own
                limits_that_change_hold_from_then_on
            }
            settling {
                what_was_not_used_is_free_again
                an_excess_is_charged
                a_call_not_made_gives_its_request_back
                who_stops_waiting_takes_nothing
                who_waits_hears_of_what_comes_back
            }
            pausing {
                a_pause_stops_everyone
                a_shorter_pause_ends_no_longer_one
                who_waits_is_stopped_too
            }
        })*
    };
}

engines! { in_process stored postgres }

mod alone {
    suite! { stored:
        restarts {
            no_minute_holds_more_across_kills
            no_minute_holds_more_across_kills_of_large_calls
            no_minute_holds_more_across_clean_ends
            a_killed_process_leaves_its_call
            other_routes_have_other_limits
            a_clean_end_is_exact
            a_grant_waits_until_the_store_counts_it
            about_one_write_a_second
            without_limits_nothing_is_written
            a_pause_outlives_its_process
            a_clock_that_was_set_back_stalls_nothing
        }
    }
}

mod shared {
    suite! { postgres:
        arithmetic {
            the_database_counts_as_the_process_does
            many_at_once_are_as_one_after_another
        }
        fleet {
            two_share_one_limit
            who_asks_for_little_gets_its_share
            other_names_are_other_limits
            a_pause_of_one_is_everyones
            a_lower_limit_of_one_is_everyones
            who_is_behind_comes_first
            a_grant_that_comes_late_is_not_used
            what_is_granted_to_one_who_has_gone_is_free_again
            what_may_have_been_given_back_is_not_given_back_again
            no_wait_is_longer_than_a_minute
            nothing_lasts_longer_after_the_clock_was_set_back
            without_its_database_nothing_is_granted_and_a_lost_row_waits_a_minute
        }
    }
}
