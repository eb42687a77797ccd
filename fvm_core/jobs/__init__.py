"""Long work in processes of its own that survive the browser and the server. Nothing here imports torch at import."""

from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.jobs.control import pause_job, stop_job, unpause_job
from fvm_core.jobs.launch import delete_job, resume_job, run_job, start_job, wait_job
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.jobs.metrics import read_metrics
from fvm_core.jobs.status import JobStatus, job_status, list_jobs

__all__ = [
    "JobContext",
    "JobStatus",
    "JobStopped",
    "MemoryContext",
    "delete_job",
    "job_status",
    "list_jobs",
    "pause_job",
    "read_metrics",
    "resume_job",
    "run_job",
    "start_job",
    "stop_job",
    "unpause_job",
    "wait_job",
]
