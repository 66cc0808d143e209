# What the jobs of this folder share.

# What ends before the time limit, in seconds, so that the epochs under way can.
: "${SPARE_S:=900}"
UNFINISHED=75 INTERRUPTED=130
# One heap for a worker's threads, so that a trial can use what the one before it freed.
export MALLOC_ARENA_MAX=1

# The sweep's limit from the job's: options for `python -m runners.sweep`; none without a limit.
hours_left() {
    local end left
    end=$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %e)
    end=$(date --date "$end" +%s 2>/dev/null) || return 0
    left=$((end - $(date +%s) - SPARE_S))
    [[ $left -gt 36 ]] || left=36
    printf -- '--set limits.hours=%d.%04d\n' $((left / 3600)) $((left % 3600 * 10000 / 3600))
}

# Run a command that an end of the job interrupts, and queue the job again where it is not done.
go_on() {
    local status child
    "$@" &
    child=$!
    # preemption and scancel: the epochs under way may end, as after Ctrl-C
    trap 'kill -TERM $child 2>/dev/null' TERM
    wait $child
    status=$?
    # the signal ends the wait, and not the command
    while kill -0 $child 2>/dev/null; do
        wait $child
        status=$?
    done
    echo "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)): exit status $status"
    # of a job that was cancelled the state is another one
    if [[ $status == "$UNFINISHED" || $status == "$INTERRUPTED" ]] &&
        [[ $(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T) == RUNNING ]]; then
        scontrol requeue "$SLURM_JOB_ID"
        sleep 60 # it ends this script
    fi
    exit $status
}
