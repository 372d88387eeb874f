//! Links and folders on the path of a file.

use std::fs::{self, hard_link, rename};
use std::os::unix::fs::symlink;

use super::{Way, are_seen, beside, lead, write};

#[test]
fn links_that_lead_elsewhere_are_seen() {
    are_seen(&[
        Way {
            name: "link-repointed",
            make: |at, pem| {
                write(at.join("1.pem"), pem);
                symlink("1.pem", at.join("who.pem")).unwrap();
            },
            change: |at, pem| {
                write(at.join("2.pem"), pem);
                lead(at.join("who.pem"), "2.pem");
            },
        },
        Way {
            name: "link-made-anew",
            make: |at, pem| {
                write(at.join("1.pem"), pem);
                symlink("1.pem", at.join("who.pem")).unwrap();
            },
            change: |at, pem| {
                write(at.join("2.pem"), pem);
                fs::remove_file(at.join("who.pem")).unwrap();
                symlink("2.pem", at.join("who.pem")).unwrap();
            },
        },
        Way {
            name: "link-of-a-link",
            make: |at, pem| {
                write(at.join("in/1.pem"), pem);
                symlink("1.pem", at.join("in/now.pem")).unwrap();
                symlink("in/now.pem", at.join("who.pem")).unwrap();
            },
            change: |at, pem| {
                write(at.join("in/2.pem"), pem);
                lead(at.join("in/now.pem"), "2.pem");
            },
        },
    ]);
}

#[test]
fn folders_that_are_replaced_are_seen() {
    are_seen(&[
        Way {
            name: "folder-renamed",
            make: |at, pem| write(at.join("who.pem"), pem),
            change: |at, pem| {
                write(beside(at, "new").join("who.pem"), pem);
                rename(at, beside(at, "old")).unwrap();
                rename(beside(at, "new"), at).unwrap();
            },
        },
        Way {
            name: "folder-link-repointed",
            make: |at, pem| {
                write(beside(at, "1").join("who.pem"), pem);
                symlink(beside(at, "1"), at).unwrap();
            },
            change: |at, pem| {
                write(beside(at, "2").join("who.pem"), pem);
                lead(at, beside(at, "2").to_str().unwrap());
            },
        },
        Way {
            name: "kubernetes",
            make: |at, pem| {
                write(at.join("..1/who.pem"), pem);
                symlink("..1", at.join("..data")).unwrap();
                symlink("..data/who.pem", at.join("who.pem")).unwrap();
            },
            change: |at, pem| {
                write(at.join("..2/who.pem"), pem);
                symlink("..2", at.join("..data_tmp")).unwrap();
                rename(at.join("..data_tmp"), at.join("..data")).unwrap();
                fs::remove_dir_all(at.join("..1")).unwrap();
            },
        },
        Way {
            name: "folder-emptied-and-filled",
            make: |at, pem| write(at.join("who.pem"), pem),
            change: |at, pem| {
                fs::remove_dir_all(at).unwrap();
                write(at.join("who.pem"), pem);
            },
        },
    ]);
}

#[test]
fn ends_of_links_that_are_replaced_are_seen() {
    are_seen(&[
        Way {
            name: "end-of-a-link-replaced",
            make: |at, pem| {
                write(at.join("in/who.pem"), pem);
                symlink("in/who.pem", at.join("who.pem")).unwrap();
            },
            change: |at, pem| {
                write(at.join("in/new.pem"), pem);
                rename(at.join("in/new.pem"), at.join("in/who.pem")).unwrap();
            },
        },
        Way {
            name: "hard-link-replaced",
            make: |at, pem| {
                write(at.join("1.pem"), pem);
                hard_link(at.join("1.pem"), at.join("who.pem")).unwrap();
            },
            change: |at, pem| {
                write(at.join("2.pem"), pem);
                hard_link(at.join("2.pem"), at.join("new")).unwrap();
                rename(at.join("new"), at.join("who.pem")).unwrap();
            },
        },
    ]);
}
