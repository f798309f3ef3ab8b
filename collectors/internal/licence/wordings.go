package licence

import "strings"

// wordings lists ids with whole texts that licensecheck has no pattern for, in its
// pattern language: what stands between double parentheses may be missing or vary.
func wordings() [][2]string {
	return [][2]string{
		{"lsof", `
			((This software is not subject to any license of the American Telephone and Telegraph Company
			or the Regents of the University of California.))??
			Permission is granted to anyone to use this software for any purpose on any computer system, and to alter it and
			redistribute it freely, subject to the following restrictions:
			__1__ Neither the authors nor Purdue University are responsible for any consequences of the use of this software.
			__1__ The origin of this software must not be misrepresented, either by explicit claim or by omission.
			Credit to the authors and Purdue University must appear in documentation and sources.
			__1__ Altered versions must be plainly marked as such, and must not be misrepresented as being the original software.
			__1__ This notice may not be removed or altered.`},
		{"BSD-3-Clause-Modification", bsdOpening + `
			__1__ Redistributions in source code must retain the accompanying copyright notice, this list of conditions, and the
			following disclaimer.
			__1__ Redistributions in binary form must reproduce the accompanying copyright notice, this list of conditions, and the
			following disclaimer in the documentation and/or other materials provided with the distribution.
			__1__ Names of the copyright holders must not be used to endorse or promote products derived from this software without
			prior written permission from the copyright holders.
			__1__ If any files are modified, you must cause the modified files to carry prominent notices stating that you changed the
			files and the date of any change.
			((Disclaimer))??` + strings.Replace(bsdDisclaimer, "EXPRESS OR IMPLIED", "__1__ OR IMPLIED", 1)},
		{"BSD-2-Clause", bsdOpening + `
			__1__ Redistributions of source code must retain the above copyright notice, this list of conditions and the following disclaimer.
			__1__ Redistributions in binary form must reproduce the above copyright notice in the documentation
			and/or other materials provided with the distribution.` + bsdDisclaimer},
		{"BSD-3-Clause-flex", `
			((This code is derived from software contributed to Berkeley by __4__
			The United States Government has rights in this work pursuant to contract __6__ between the United States Department of
			Energy and the University of California.))??
			` + bsdOpening + `
			__1__ Redistributions of source code must retain the above copyright notice, this list of conditions and the following disclaimer.
			__1__ Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the
			following disclaimer in the documentation and/or other materials provided with the distribution.
			Neither the name of the University nor the names of its contributors may be used to endorse or promote products derived
			from this software without specific prior written permission.
			THIS SOFTWARE IS PROVIDED AS IS AND WITHOUT ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, WITHOUT LIMITATION, THE IMPLIED
			WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE.
			((This basically says do whatever you please with this software except remove this notice or take advantage of the
			University's (or the flex authors') name. Note that the flex.skl scanner skeleton carries no copyright notice. You are free
			to do whatever you please with scanners generated using flex; for them, you are not even bound by the above copyright.))??`},
		{"BSD-Attribution-HPND-disclaimer", bsdOpening + `
			__1__ Redistributions of source code must retain the above copyright notice, this list of conditions and the following disclaimer.
			__1__ Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the
			following disclaimer in the documentation and/or other materials provided with the distribution.
			__1__ The name __10__ must not be used to endorse or promote products derived from this software without prior written permission.
			((For permission or any other legal details, please contact __40__))??
			__1__ Redistributions of any form whatsoever must retain the following
			((acknowledgment || acknowledgement))
			This product includes software developed by __20__
			DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE, INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS,
			IN NO EVENT SHALL __10__ BE LIABLE FOR ANY SPECIAL, INDIRECT OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING
			FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR
			IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.`},
		{"HTMLTIDY", `
			This software and documentation is provided as is, and the copyright holders and contributing author(s) make no
			representations or warranties, express or implied, including but not limited to, warranties of merchantability or fitness
			for any particular purpose or that the use of the software or documentation will not infringe any third party patents,
			copyrights, trademarks or other rights.
			The copyright holders and contributing author(s) will not be
			((held))??
			liable for any direct, indirect, special or
			consequential damages arising out of any use of the software or documentation, even if advised of the possibility of such
			damage.
			Permission is hereby granted to use, copy, modify, and distribute this source code, or portions hereof, documentation and
			executables, for any purpose, without fee, subject to the following restrictions:
			__1__ The origin of this source code must not be misrepresented.
			__1__ Altered versions must be plainly marked as such and must not be misrepresented as being the original source.
			__1__ This Copyright notice may not be removed or altered from any source or altered source distribution.
			((The copyright holders and contributing author(s) specifically permit, without fee, and encourage the use of this source
			code as a component for supporting the Hypertext Markup Language in commercial products. If you use this source code in a
			product, acknowledgment is not required but would be appreciated.))??`},
		{"MIT-Modern-Variant", `
			Permission is hereby granted, without written agreement and without license or royalty fees, to use, copy, modify, and
			distribute this software and to distribute modified versions of this software for any purpose, provided that the above
			copyright notice and the following two paragraphs appear in all copies of this software.
			In no event shall __8__ liable __4__ for direct, indirect, special, incidental, or consequential damages arising out of the
			use of this software and its documentation, even if __8__ been advised of the possibility of such damage.
			__10__ specifically
			((disclaim || disclaims))
			any warranties, including, but not limited to, the implied warranties of
			merchantability and fitness for a particular purpose. The software provided hereunder is on an as is basis, and __8__ no
			obligation to provide maintenance, support, updates, enhancements, or modifications.`},
		{"NAIST-2003", `
			Use, reproduction, and distribution of this software is permitted. Any copy of this software, whether in its original form
			or modified, must include both the above copyright notice and the following paragraphs.
			Nara Institute of Science and Technology (NAIST), the copyright holders, disclaims all warranties with regard to this
			software, including all implied warranties of merchantability and fitness, in no event shall NAIST be liable for any
			special, indirect or consequential damages or any damages whatsoever resulting from loss of use, data or profits, whether in
			an action of contract, negligence or other tortuous action, arising out of or in connection with the use or performance of
			this software.`},
		{"EPL-1.0", aboutContent + "\n((Version 1.0 || v1.0))\n" + aboutEPL},
		{"EPL-2.0", aboutContent + "\n((Version 2.0 || v2.0))\n" + aboutEPL},
		{"IJG", `
			((In plain English: __1__ We don't promise that this software works. (But if you find any bugs, please let us know!)
			__1__ You can use this software for whatever you want. You don't have to pay us.
			__1__ You may not pretend that you wrote this software. If you use it in a program, you must acknowledge somewhere in your
			documentation that you've used the IJG code. In legalese:))??
			The authors make NO WARRANTY or representation, either express or implied, with respect to this software, its quality,
			accuracy, merchantability, or fitness for a particular purpose. This software is provided AS IS, and you, its user,
			assume the entire risk as to its quality and accuracy. __40__
			Permission is hereby granted to use, copy, modify, and distribute this software (or portions thereof) for any purpose,
			without fee, subject to these conditions:
			__1__ If any part of the source code for this software is distributed, then this README file must be included, with this
			copyright and no-warranty notice unaltered; and any additions, deletions, or changes to the original files must be clearly
			indicated in accompanying documentation.
			__1__ If only executable code is distributed, then the accompanying documentation must state that this software is based in
			part on the work of the Independent JPEG Group.
			__1__ Permission for use of this software is granted only if the user accepts full responsibility for any undesirable
			consequences; the authors accept NO LIABILITY for damages of any kind.
			((These conditions apply to any software derived from or based on the IJG code, not just to the unmodified library. If you
			use our work, you ought to acknowledge us.))??
			((Permission is NOT granted for the use of any IJG author's name or company name in advertising or publicity relating to this
			software or products derived from it. This software may be referred to only as the Independent JPEG Group's software.))??
			((We specifically permit and encourage the use of this software as the basis of commercial products, provided that all
			warranty or liability claims are assumed by the product vendor.))??`},
	}
}

// aboutContent and aboutEPL are the page that plug-ins of Eclipse have about
// themselves, before and after the version.
const aboutContent = `
	The Eclipse Foundation makes available all content in this plug-in __3__ Unless otherwise indicated below, the Content is
	provided to you under the terms and conditions of the Eclipse Public License`

const aboutEPL = `
	__3__ A copy of the EPL is available at __20__ For purposes of the EPL, __3__ will mean the Content.
	If you did not receive this Content directly from the Eclipse Foundation, the Content is being redistributed by another party
	__3__ and different terms and conditions may apply to your use of any object code in the Content. Check the Redistributor's
	license that was provided with the Content. If no such license exists, contact the Redistributor. Unless otherwise indicated
	below, the terms and conditions of the EPL still apply to any source code in the Content`

const bsdOpening = `
	Redistribution and use in source and binary forms, with or without modification, are permitted provided that the following
	conditions are met:`

const bsdDisclaimer = `
	THIS SOFTWARE IS PROVIDED BY __12__ AS IS AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED
	WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL __12__ BE LIABLE FOR ANY
	DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF
	SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF
	LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
	OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.`
