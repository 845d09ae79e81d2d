//! The laws of the store's ports, tested on every engine.
//!
//! A law takes a [`Harness`]: an empty store, and a way to open it again after a crash if the engine has one. It uses
//! only the ports, so that every engine must keep the same laws.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of a test fail the way a test does"
)]

mod billing;
mod caching;
mod continuing;
pub(crate) mod counting;
mod crash;
pub(crate) mod draft;
mod events;
mod files;
mod forgetting;
mod graph;
pub(crate) mod harness;
mod history;
mod leases;
mod ledger;
mod lines;
mod machine;
mod material;
mod money;
mod older;
mod opening;
mod outside;
mod partial;
pub(crate) mod parts;
mod planning;
mod poison;
mod redos;
mod removal;
mod report;
mod retries;
use crate::support::postgres as server;
mod searching;
mod sessions;
mod settling;
mod told;
mod transitions;

use harness::Harness;

/// Makes one test for each law on each engine.
macro_rules! suite {
    ($engine:ident: $($module:ident { $($law:ident)* })*) => {
        mod $engine {
            $(mod $module {
                $(#[test]
                fn $law() {
                    crate::store::harness::block_on(async {
                        let mut harness = crate::store::Harness::$engine().await;
                        crate::store::$module::$law(&mut harness).await;
                    });
                })*
            })*
        }
    };
}

macro_rules! engines {
    ($($engine:ident)*) => {
        $(suite! { $engine:
            opening {
                the_same_name_resumes
                another_input_under_a_default_name_is_refused
                rehearsals_and_real_runs_never_share_a_store
                the_run_opened_last_is_the_latest
                the_mark_is_kept_until_the_next_reading
                a_changed_recipe_is_told_while_begun_work_is_unfinished
            }
            lines {
                a_line_is_new_then_known_then_changed
                an_undone_edit_finds_its_answer
                an_undone_edit_without_an_answer_goes_on
                a_custom_id_twice_is_a_bad_line
                bad_lines_are_stored_as_failed
                a_bad_line_keeps_its_name_where_it_is_free
                a_bad_batch_line_has_the_form_of_one
                equal_lines_are_told_apart_by_occurrence
                a_thousand_equal_lines_are_a_thousand_requests
                notes_rewrite_the_line_and_cost_nothing
                a_move_makes_lines_stale
                a_frozen_run_refuses_and_changes_nothing
                a_frozen_run_refuses_to_go_back_too
            }
            removal {
                only_seen_lines_are_claimed_while_reading
                removed_lines_are_kept_apart_and_come_back
                a_removed_line_in_flight_holds_nobody_up
                a_removed_head_lets_its_session_go_on
            }
            leases {
                a_queue_is_claimed_once_and_in_order
                priority_never_reorders_a_session
                the_fence_grows_with_every_claim
                renewing_names_the_lost_ones
                what_is_snoozed_comes_later
                a_second_opening_voids_no_live_lease
                a_crash_voids_leases_and_keeps_what_is_settled
                the_largest_numbers_do_no_harm
                claimable_tasks_of_all_runs_are_counted
            }
            settling {
                steps_lead_to_the_end
                a_failed_task_skips_the_later_ones
                a_batch_error_keeps_its_response
                a_stale_lease_settles_nothing_but_its_bill
                a_superseded_queue_settles_nothing_but_its_bill
                a_task_is_settled_once
                the_ledger_adds_up
            }
            sessions {
                one_at_a_time_in_order_of_arrival
                an_edit_keeps_its_place
                an_edit_that_leaves_a_session_lets_it_go_on
                a_session_never_waits_for_nothing
                two_runs_share_a_session
                items_are_numbered_without_a_gap
                a_request_alone_counts_from_one
            }
            retries {
                by_class_and_by_id
                bad_lines_are_not_retried
                what_a_failure_cost_is_waste_of_the_next
                completed_tasks_are_not_done_again
                a_retried_request_takes_its_place_again
            }
            redos {
                the_earlier_result_stays_until_the_new_one_is_settled
                a_failed_redo_keeps_the_earlier_result
                a_failed_request_takes_the_new_failure
                unfinished_and_bad_lines_are_left_out
                a_redone_request_keeps_its_session_in_order
                an_edit_cancels_a_redo
                a_split_task_is_split_anew
                a_split_task_keeps_the_tasks_that_it_needs
                a_paused_request_pauses_again
                events_keep_the_results_that_they_told
            }
            counting {
                every_state_is_counted
                an_unfinished_reading_counts_what_it_has_not_seen
                finished_pages_are_in_order_and_complete
                input_order_stops_at_the_first_gap
                finished_by_number
                pages_end_early_where_results_are_large
                a_whole_store_passes_its_check
            }
            planning {
                a_plan_is_settled_once_and_found_again
                tasks_of_the_line_are_no_plan
                a_stale_lease_plans_nothing_but_its_bill
                every_call_of_planning_is_in_the_ledger
                a_failed_plan_is_an_end_and_waste_of_the_next
                only_what_is_unplanned_is_claimed_as_such
            }
            continuing {
                a_pause_is_an_end_that_lets_the_session_go_on
                the_last_task_pauses_nothing
                without_what_paused_it_a_line_goes_on
                a_line_that_goes_on_takes_its_place_again
                an_undone_edit_without_what_paused_it_goes_on
                pending_tasks_go_to_a_later_request
                what_was_paused_last_goes_on_first
                a_queue_that_continues_can_pause_too
                nothing_is_taken_where_nothing_is_pending
                pending_tasks_go_to_another_run
                an_edit_gives_back_and_undoing_it_takes_again
                what_another_has_now_is_not_given_back
                an_undone_edit_of_what_was_continued_stays_continued
            }
            material {
                earlier_results_reach_back_through_what_is_continued
                items_of_the_session_are_found_by_their_names
                the_last_rounds_come_oldest_first
                what_was_left_is_remembered_until_it_is_chosen
                an_ended_request_is_no_round_of_its_own
                a_request_alone_sees_only_its_own
                numbers_have_no_gap_whatever_comes_between
            }
            events {
                everything_settled_is_told_in_its_order
                a_plan_is_told_once
                pauses_and_what_goes_on_are_told
                what_is_no_longer_true_is_not_present
                only_failures_are_told_of_what_has_no_tasks
                single_queues_are_told_of
            }
            forgetting {
                a_cleared_session_keeps_nothing_but_its_numbers
                other_sessions_are_left_alone
            }
            money {
                what_is_held_back_never_passes_the_cap
                a_settlement_replaces_what_was_held_back_by_what_it_cost
                a_call_given_back_is_in_the_ledger
                a_lost_lease_holds_nothing_back
                a_death_spends_what_was_held_back
                sums_of_money_stop_before_they_break_the_ledger
                routes_are_remembered_with_the_time_they_were_open
            }
            searching {
                a_search_comes_before_its_task
                a_search_is_claimed_as_one_after_a_crash
                a_settled_search_is_not_repeated_by_a_retry
                a_failed_search_fails_no_request
                a_search_is_poison_by_itself
                a_task_that_searched_can_be_split
                a_result_of_another_kind_is_refused
            }
            parts {
                parts_run_side_by_side_and_are_joined
                a_crash_repeats_only_the_unfinished_parts
                a_failed_part_lets_its_siblings_finish
                a_retry_asks_only_the_failed_parts
                a_part_that_is_given_back_is_claimed_again
                a_part_is_poison_by_itself
                an_edit_takes_all_leases_of_its_parts
                parts_share_the_session_of_their_queue
                a_sleeping_part_holds_up_nobody
            }
            graph {
                tasks_that_need_no_other_are_leased_side_by_side
                a_fork_hands_its_lease_to_one_task_and_frees_the_others
                a_crash_repeats_only_the_tasks_that_are_not_settled
                a_failed_task_lets_the_tasks_at_its_side_end
                a_failure_that_is_settled_last_ends_the_queue
                a_graph_goes_on_behind_a_failed_task
                a_skipped_task_lets_its_queue_go_on
                a_pause_waits_for_the_tasks_at_its_side
                a_later_request_takes_over_what_is_not_settled
                a_changed_graph_replaces_one_that_has_not_begun
                a_session_goes_on_behind_a_graph
            }
            history {
                a_history_has_every_version_and_every_call
                a_history_outlives_a_crash
                actions_are_kept_with_their_end
                a_run_keeps_its_newest_actions
            }
            outside {
                a_submitted_task_has_no_lease
                whoever_finds_the_answer_settles_it_once
                an_outside_failure_fails_its_queue
                a_submitted_task_outlives_a_crash
                a_job_that_is_gone_is_taken_back_and_runs_live
                an_edit_leaves_a_job_nothing_to_settle
            }
            partial {
                a_queue_goes_on_behind_a_failed_task
                a_retry_of_what_ended_in_part_asks_only_what_failed
                a_join_without_a_part_ends_its_queue_in_part
                failures_are_counted_by_class_with_the_first_as_an_example
            }
            poison {
                a_first_crash_is_only_recorded
                a_crash_counts_against_no_request_that_waits
                a_crash_at_work_means_quarantine
                groups_are_halved_until_one_is_alone
                who_waits_at_a_crash_of_its_group_keeps_its_room
                two_crashes_alone_under_different_owners_are_poison
                a_poisoned_request_lets_its_session_go_on
                whatever_is_settled_clears
                a_clean_end_is_no_crash
                a_poisoned_request_can_be_retried
                the_end_of_a_poisoned_request_is_told
                quarantine_counts_as_unfinished
                panics_are_counted_until_something_is_settled
            }
            told {
                a_model_s_plan_that_was_not_begun_gives_way
                a_queue_that_is_to_be_planned_takes_what_it_is_told
                a_queue_that_has_begun_keeps_its_tasks_and_is_counted
                a_failed_request_takes_what_it_is_told_after_a_retry
                what_was_taken_over_is_pending_again
                what_was_finished_under_another_recipe_is_counted
            }
            ledger {
                the_newest_calls_come_first_with_their_tasks
                a_page_of_calls_has_whole_requests_in_their_order
            }
            report {
                the_figures_are_those_of_the_calls
            }
            billing {
                the_bill_of_a_run_is_its_summary
                calls_are_grouped_by_every_key
                a_bill_can_be_of_some_calls_only
                a_call_that_a_crash_lost_keeps_its_lane
                sums_of_the_bill_have_no_cap
            }
            caching {
                asking_for_freshness_is_no_use
                what_is_put_is_found_also_after_a_crash
                what_is_stale_is_told_as_stale
                what_was_used_longest_ago_makes_room
                a_lower_bound_is_reached_in_batches
            }
            files {
                cursors_round_trip
                a_cursor_takes_the_place_of_the_expected_one_only
                a_cursor_is_stored_with_the_rows_it_speaks_of
            }
        })*
    };
}

engines! { memory file postgres }
