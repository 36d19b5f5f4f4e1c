//! Who holds a port, so that a start that fails can name it.

use std::fs;

/// The process that listens on a TCP port of this machine, as `process 4711 (tidegate)`; `None`
/// where the system does not tell.
pub(crate) fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|it| fs::read_to_string(it).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let wanted = format!("socket:[{inode}]");
    // Not `self` and the like, which name whoever reads them.
    let is_number = |it: &fs::DirEntry| {
        let name = it.file_name();
        name.to_str().is_some_and(|it| it.parse::<u32>().is_ok())
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes.filter(is_number) {
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let mut links = files
            .flatten()
            .filter_map(|it| fs::read_link(it.path()).ok());
        if links.any(|it| it.as_os_str() == wanted.as_str()) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let id = process.file_name();
            return Some(format!("process {} ({})", id.display(), name.trim()));
        }
    }
    None
}

/// The inode of the socket that listens on `port`, from the kernel's table of sockets.
fn listening_inode(table: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let (_, hex) = local.rsplit_once(':')?;
        let here = u16::from_str_radix(hex, 16).ok()? == port;
        let inode = fields.nth(5)?;
        (here && state == LISTEN).then(|| inode.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_named_for_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = holder(port).unwrap();
        assert!(
            holder.starts_with(&format!("process {} (", std::process::id())),
            "{holder}"
        );
    }
}
