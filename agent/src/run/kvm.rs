//! Whether virtual machines run at the processor's own speed here (KVM), and if not, why not.
//! Decides from what the kernel shows; never loads a module.

use super::Start;
use std::fs;
use std::path::Path;

/// The sentence for a program that asks for KVM (QEMU's `accel=kvm:tcg`) on a node without it.
pub(crate) fn lack(start: &Start) -> Option<String> {
    let asks = start.arguments.iter().any(|word| word.contains("kvm"));
    if asks { lack_below(Path::new("/")) } else { None }
}

fn lack_below(root: &Path) -> Option<String> {
    if root.join("dev/kvm").exists() {
        return None;
    }
    let processor = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_ascii_whitespace().any(|word| word == flag);
    let why = match (has("vmx"), has("svm")) {
        (true, _) => "its module kvm_intel is not in the kernel",
        (_, true) => "its module kvm_amd is not in the kernel, or the firmware has SVM locked",
        _ => {
            "the processor shows neither vmx nor svm: switch on VT-x, AMD-V or SVM in the firmware's setup, if it is there"
        }
    };
    Some(format!("no KVM on this node, virtual machines run in software and many times slower: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lack_has_its_reason() {
        let root = std::env::temp_dir().join(format!("boottorrent-kvm-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("proc")).unwrap();
        fs::create_dir_all(root.join("dev")).unwrap();
        let told = |flags: &str| {
            fs::write(root.join("proc/cpuinfo"), format!("processor\t: 0\nflags\t\t: fpu {flags} sse\n"))
                .unwrap();
            lack_below(&root).unwrap_or_default()
        };
        assert!(told("vmx").contains("kvm_intel is not in the kernel"));
        assert!(told("svm").contains("kvm_amd is not in the kernel"));
        assert!(told("vmxnet").contains("neither vmx nor svm"), "whole words");
        fs::write(root.join("dev/kvm"), "").unwrap();
        assert_eq!(lack_below(&root), None);
        let _ = fs::remove_dir_all(&root);
    }
}
