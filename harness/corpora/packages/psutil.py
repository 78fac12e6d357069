"""psutil: what it tells of the machine and of this process; processes and values that do not exist."""
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import psutil  # noqa: E402

me = psutil.Process()
for i in range(60):
    psutil.cpu_times(), psutil.virtual_memory(), psutil.disk_partitions(all=True), psutil.disk_usage("/"), psutil.cpu_count()
    psutil.net_if_addrs(), psutil.net_if_stats(), psutil.net_io_counters(), psutil.users()
    with me.oneshot():
        me.as_dict(attrs=["name", "memory_info", "cpu_affinity", "num_fds", "threads", "open_files", "nice", "ionice", "memory_maps"])
    me.rlimit(psutil.RLIMIT_NOFILE)
    for wrong, error in ((lambda: psutil.Process(2**22 + 5), psutil.NoSuchProcess), (lambda: me.cpu_affinity([99999]), ValueError)):
        try:
            wrong()
            sys.exit("an error was expected")
        except error:
            pass
