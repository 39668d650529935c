"""nginx with nchan as a user would set it up for fan-out: no log of requests, no bound that a measurement meets."""

from pathlib import Path

from . import build, machine

# as many connections as files may be open, with some left for what nginx has open besides
FILES_BESIDE = 200


def written(folder: Path, port: int, workers: int) -> str:
    files = machine.raise_open_files()
    return f"""
load_module {build.nchan_module()};
daemon off;
worker_processes {workers};
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/err warn;
events {{
    worker_connections {files - FILES_BESIDE};
}}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    # more than its default of 128 MB, so that it is no limit
    nchan_shared_memory_size 512M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/sub/(.+)$ {{
            nchan_subscriber websocket eventsource;
            nchan_channel_id $1;
        }}
        location ~ ^/pub/(.+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
        }}
    }}
}}
"""
